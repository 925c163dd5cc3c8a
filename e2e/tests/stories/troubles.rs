//! Failures from below are told truthfully, once, with a remedy, and are over when their cause is gone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use api::reported::Reported;
use e2e::Space;
use e2e::space::story;
use serde_json::{Value, json};

use crate::stalls::stalled;

/// How long a status is watched that must not change.
const QUIET: Duration = Duration::from_secs(15);

async fn apply(space: &Space, name: &str, changes: Value) -> Result<()> {
    let mut spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
    if let (Value::Object(spec), Value::Object(changes)) = (&mut spec, changes) {
        spec.extend(changes);
    }
    space.apply_instance(name, spec).await
}

/// While nothing changes, nothing is written.
async fn quiet(space: &Space, name: &str) -> Result<()> {
    let object = format!("dbinstance/{name}");
    let status = || async { space.kubectl(&["get", &object, "-o=yaml"], "").await };
    let (before, began) = (status().await?, Instant::now());
    while began.elapsed() < QUIET {
        let now = status().await?;
        ensure!(now == before, "{name} was\n{before}\nand is\n{now}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn cured(space: &Space, name: &str) -> Result<()> {
    let what = format!("{name} cured");
    space.step(&what, space.until_settled(name)).await?;
    Ok(())
}

#[tokio::test]
async fn a_pod_that_fits_no_node_is_told_and_starts_when_it_fits() -> Result<()> {
    story("story-troubles-node", |space| async move {
        let memory = async {
            let much = json!({"limits": {"memory": "1000Gi"}});
            apply(&space, "memory", json!({"resources": much})).await?;
            let words = ["memory", "Lower spec.resources.requests.memory"];
            let told = stalled(&space, "memory", "Unschedulable", &words);
            space.step("memory told", told).await?;
            quiet(&space, "memory").await?;
            space.patch("memory", json!({"resources": null})).await?;
            cured(&space, "memory").await
        };
        let place = async {
            let nowhere = json!({"nodeSelector": {"example.com/disk": "none"}});
            apply(&space, "place", json!({"scheduling": nowhere})).await?;
            let words = ["selector", "Correct spec.scheduling"];
            let told = stalled(&space, "place", "Unschedulable", &words);
            space.step("place told", told).await?;
            quiet(&space, "place").await?;
            space.patch("place", json!({"scheduling": null})).await?;
            cured(&space, "place").await
        };
        futures::try_join!(memory, place).map(|_| ())
    })
    .await
}

/// An entry of the engine catalog; null takes it out.
async fn catalog(space: &Space, version: &str, image: Value) -> Result<()> {
    let patch = json!({"data": {version: image}}).to_string();
    let namespace = ["-n", "minidbaas-system"];
    let patch = [
        "patch",
        "configmap",
        api::names::CATALOG,
        "--type=merge",
        "--patch",
        &patch,
    ];
    let arguments = [&namespace[..], &patch[..]].concat();
    space.cluster.kubectl(&arguments, "").await.map(|_| ())
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_told_and_pulled_when_it_can() -> Result<()> {
    const VERSION: &str = "postgresql.17.0.99";
    story("story-troubles-image", |space| async move {
        let told = async {
            catalog(&space, VERSION, json!("localhost/nonexistent:1")).await?;
            apply(&space, "image", json!({"version": "17.0.99"})).await?;
            let words = [
                "localhost/nonexistent:1",
                "Correct the image in the engine catalog",
            ];
            let told = stalled(&space, "image", "ImagePullFailed", &words);
            space.step("image told", told).await?;
            quiet(&space, "image").await?;
            catalog(&space, VERSION, json!("localhost/postgres:17")).await?;
            cured(&space, "image").await
        };
        let told = told.await;
        catalog(&space, VERSION, Value::Null).await?;
        told?;
        // What runs goes on without its entry in the catalog.
        space
            .until_condition("image", "Stalled", "True", "UnknownVersion")
            .await?;
        let instance = space.instances().get("image").await?;
        let ready = instance.condition("Ready");
        ensure!(
            ready.is_some_and(|c| c.status == "True"),
            "Ready: {ready:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_quota_is_told_and_used_when_it_has_room() -> Result<()> {
    story("story-troubles-quota", |space| async move {
        let quota = |name: &str, resource: &str| {
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name},
                "spec": {"hard": {resource: "0"}}})
            .to_string()
        };
        space.apply(&quota("pods", "pods")).await?;
        space.apply(&quota("storage", "requests.storage")).await?;
        for name in ["pods", "storage"] {
            let path = ".status.hard";
            let object = format!("resourcequota/{name}");
            let known = || async { Ok(!space.field(&object, path).await?.is_empty()) };
            space.until("the quota is in force", known).await?;
        }
        apply(&space, "shop", json!({})).await?;
        let words = [
            "exceeded quota: storage",
            "Raise the quota",
            "spec.storage.size",
        ];
        let told = stalled(&space, "shop", "QuotaExceeded", &words);
        space.step("storage told", told).await?;
        quiet(&space, "shop").await?;
        space
            .kubectl(&["delete", "resourcequota", "storage"], "")
            .await?;
        let told = space.until("the other quota is told", || async {
            let instance = space.instances().get("shop").await?;
            let ready = instance.condition("Ready");
            Ok(ready.is_some_and(|c| c.message.contains("exceeded quota: pods")))
        });
        space.step("pods told", told).await?;
        stalled(&space, "shop", "QuotaExceeded", &["Raise the quota"]).await?;
        space
            .kubectl(&["delete", "resourcequota", "pods"], "")
            .await?;
        cured(&space, "shop").await
    })
    .await
}

#[tokio::test]
async fn a_rule_against_the_pod_is_told_and_the_pod_made_when_it_is_gone() -> Result<()> {
    const RULE: &str = "story-troubles-forbidden";
    story(RULE, |space| async move {
        let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        let remove = ["delete", kinds, RULE, "--ignore-not-found"];
        space.kubectl(&remove, "").await?;
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": RULE},
            "spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["CREATE"], "resources": ["pods"]}]},
                "validations": [{"expression": "false", "message": "no pods on Tuesdays"}],
            },
        });
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": RULE}});
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": RULE},
            "spec": {"policyName": RULE, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here}},
        });
        space.apply(&policy.to_string()).await?;
        space.apply(&binding.to_string()).await?;
        let security = json!({"runAsNonRoot": true, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}});
        let container = json!({"name": "a", "image": "a", "securityContext": {"allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]}}});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": {"securityContext": security, "containers": [container]},
        });
        let pod = pod.to_string();
        let told = async {
            let tried = || async {
                let tried = ["create", "--dry-run=server", "-f", "-"];
                Ok(space.refused(&tried, &pod).await.is_ok_and(|said| said.contains("Tuesdays")))
            };
            space.until("the rule is in force", tried).await?;
            apply(&space, "shop", json!({})).await?;
            let words = ["no pods on Tuesdays", "Ask whoever owns that rule"];
            let told = stalled(&space, "shop", "PodForbidden", &words);
            space.step("rule told", told).await?;
            quiet(&space, "shop").await
        };
        let told = told.await;
        space.kubectl(&remove, "").await?;
        told?;
        cured(&space, "shop").await
    })
    .await
}

#[tokio::test]
async fn a_volume_that_cannot_be_made_is_told_and_used_when_it_can() -> Result<()> {
    const CLASS: &str = "story-troubles-volume";
    story(CLASS, |space| async move {
        let remove = ["delete", "storageclass", CLASS, "--ignore-not-found"];
        let class = |parameters: Value| {
            json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": CLASS},
                "provisioner": "btrfs.csi.minidbaas.dev", "volumeBindingMode": "WaitForFirstConsumer",
                    "parameters": parameters,
            })
            .to_string()
        };
        let told = async {
            space.kubectl(&remove, "").await?;
            space.apply(&class(json!({"csi.storage.k8s.io/colour": "red"}))).await?;
            let storage = json!({"storage": {"size": "1Gi", "className": CLASS}});
            apply(&space, "shop", storage).await?;
            let words = [CLASS, "could not be made", "kubectl describe pvc shop"];
            let told = stalled(&space, "shop", "VolumeNotBound", &words);
            space.step("volume told", told).await?;
            quiet(&space, "shop").await?;
            space.kubectl(&remove, "").await?;
            space.apply(&class(json!({}))).await?;
            cured(&space, "shop").await
        };
        let told = told.await;
        space.kubectl(&remove, "").await?;
        told
    })
    .await
}

/// A webhook of somebody else that nobody answers for: every write that it is asked about fails.
#[tokio::test]
async fn a_webhook_that_is_down_is_told_and_forgotten_when_it_is_gone() -> Result<()> {
    const WEBHOOK: &str = "validatingwebhookconfiguration/story-troubles-webhook";
    story("story-troubles-webhook", |space| async move {
        let services = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["services"]});
        let webhook = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "story-troubles-webhook"},
            "webhooks": [{
                "name": "down.example.com", "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 1,
                "admissionReviewVersions": ["v1"], "rules": [services],
                "clientConfig": {"service": {"namespace": space.name, "name": "nobody"}},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
            }],
        });
        space.apply(&webhook.to_string()).await?;
        let told = async {
            apply(&space, "webhook", json!({})).await?;
            let words = ["Service webhook", "down.example.com", "tried again"];
            stalled(&space, "webhook", "ApplyFailed", &words).await?;
            quiet(&space, "webhook").await
        };
        let told = space.step("a webhook that is down told", told).await;
        space.kubectl(&["delete", WEBHOOK], "").await?;
        told?;
        cured(&space, "webhook").await?;
        let instance = space.instances().get("webhook").await?;
        let left = instance.condition( "Stalled");
        ensure!(left.is_none(), "it is still told: {left:?}");
        let of = "involvedObject.name=webhook,involvedObject.kind=DatabaseInstance,reason=ApplyFailed";
        let what = "jsonpath={range .items[*]}{.type}{\"\\n\"}{end}";
        let events = space
            .kubectl(&["get", "events", "--field-selector", of, "-o", what], "")
            .await?;
        ensure!(events.trim() == "Warning", "not one Warning, but: {events}");
        Ok(())
    })
    .await
}
