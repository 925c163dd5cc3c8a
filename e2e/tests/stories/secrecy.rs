//! No password is anywhere but in Secrets: not in logs, Events, a status, a process' arguments or environment, other
//! objects, or the audit log. Every place is shown to be searched: a word that is known to be there is found there.

mod places;

use anyhow::{Context, Result, ensure};
use api::Engine;
use e2e::Space;
use e2e::client::secret;
use e2e::space::story;
use k8s_openapi::ByteString;
use serde_json::json;

use places::{Found, Places};

/// In a planted pod's arguments, environment, annotation and log, in an Event, and in a name that was asked for.
const PLANTED: &str = "planted-f00dfeed";

#[tokio::test]
async fn passwords_are_in_secrets_and_nowhere_else() -> Result<()> {
    story("story-secrecy", |space| async move {
        let places = Places::watch(&space)?;
        plant(&space).await?;
        for engine in Engine::ALL {
            let spec = json!({"engine": engine.name(), "storage": {"size": "1Gi"}});
            space.apply_instance(engine.name(), spec).await?;
        }
        let mut passwords = Vec::new();
        for engine in Engine::ALL {
            let name = engine.name();
            space.until_settled(name).await?;
            let administrators = secret(&space, &format!("{name}-admin"), "admin-password").await?;
            passwords.push((format!("{name}, administrator"), administrators));
            let generated = secret(&space, name, "password").await?;
            passwords.push((format!("{name}, generated"), generated));
        }
        for engine in Engine::ALL {
            let chosen = change(&space, engine).await?;
            passwords.push((format!("{}, chosen", engine.name()), chosen));
        }
        for engine in Engine::ALL {
            for (whose, password) in copied(&space, engine).await? {
                passwords.push((format!("{}, {whose}", engine.name()), password));
            }
        }
        for (whose, password) in clustered(&space).await? {
            passwords.push((whose.to_owned(), password));
        }
        until_seen(&space, &places).await?;
        let found = places.end(&space).await?;
        controls(&found)?;
        for (whose, password) in &passwords {
            ensure!(
                password.len() >= 20,
                "{whose}: {password} is found by chance"
            );
            for (place, text) in &found {
                for form in forms(password)? {
                    ensure!(
                        !text.contains(&form),
                        "the password of {whose} is in {place}"
                    );
                }
            }
        }
        let sizes: Vec<(&str, usize)> = found
            .iter()
            .map(|(place, text)| (*place, text.len()))
            .collect();
        eprintln!(
            "secrecy: {} passwords are not in {sizes:?} (bytes)",
            passwords.len()
        );
        Ok(())
    })
    .await
}

/// A password of the user's own, another one than the generated, and a setting: both are changed by Jobs.
async fn change(space: &Space, engine: Engine) -> Result<String> {
    let name = engine.name();
    let generated = secret(space, name, "password").await?;
    let chosen = own_password(space, name, &generated).await?;
    space
        .patch(
            name,
            json!({"credentialsSecret": {"name": format!("{name}-chosen")}}),
        )
        .await?;
    space
        .until("the binding has the chosen password", || async {
            Ok(secret(space, name, "password").await? == chosen)
        })
        .await?;
    space.until_settled(name).await?;
    Ok(chosen)
}

/// A Secret `<name>-chosen` with another password, as random as the generated one.
async fn own_password(space: &Space, name: &str, generated: &str) -> Result<String> {
    let reference = format!("{name}-chosen");
    let chosen: String = generated.chars().rev().collect();
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": reference}, "type": "kubernetes.io/basic-auth",
        "stringData": {"password": chosen},
    });
    // Created, not applied: kubectl would keep the text in an annotation, which is this Secret's own, too.
    space
        .kubectl(&["create", "-f", "-"], &object.to_string())
        .await?;
    Ok(chosen)
}

async fn plant(space: &Space) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client-planted", "annotations": {"story": PLANTED}},
        "spec": {
            "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "planted", "image": image(space).await?, "env": [{"name": "STORY",
                    "value": format!("environment-{PLANTED}")}],
                "command": ["bash", "-c", "echo $0 >&2; sleep infinity; :", format!("argument-{PLANTED}")],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    space.apply(&pod.to_string()).await?;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "planted"}, "reason": "Planted", "type": "Normal",
        "message": PLANTED, "involvedObject": {"kind": "Pod", "name": "client-planted", "namespace": space.name},
    });
    space.apply(&event.to_string()).await?;
    space
        .field(&format!("configmap/{PLANTED}"), ".data")
        .await?;
    Ok(())
}

async fn image(space: &Space) -> Result<String> {
    let catalog = [
        "-n",
        "minidbaas-system",
        "get",
        "configmap",
        api::names::CATALOG,
        "-o",
        "jsonpath={.data.postgresql\\.17}",
    ];
    space.cluster.kubectl(&catalog, "").await
}

/// The planted process must have been looked at before the looking ends.
async fn until_seen(space: &Space, places: &Places) -> Result<()> {
    space
        .until("the planted process has been seen", || async {
            Ok(places.processes_contain(&format!("argument-{PLANTED}")))
        })
        .await
}

/// What is known to be in each place.
fn controls(found: &Found) -> Result<()> {
    let argument = format!("argument-{PLANTED}");
    let environment = format!("environment-{PLANTED}");
    let known = [
        ("process arguments", argument.as_str()),
        ("process arguments", "/etc/minidbaas/prepare.sh"),
        ("process arguments", "/etc/minidbaas/apply.sh"),
        ("process environments", environment.as_str()),
        ("container logs", argument.as_str()),
        ("objects", PLANTED),
        ("objects", "/etc/minidbaas/apply.sh"),
        (
            "objects",
            "accepts connections at postgresql.story-secrecy.svc",
        ),
        ("objects", "pg_hba.conf"),
        ("objects", "numberOfInstances"),
        ("Events", PLANTED),
        ("Events", "accepts connections at mysql.story-secrecy.svc"),
        ("operator's log", "story-secrecy"),
        ("audit log", PLANTED),
        ("audit log", "story-secrecy/secrets"),
    ];
    for (place, word) in known {
        let text = found.iter().find(|(name, _)| *name == place);
        let (_, text) = text.context("no such place")?;
        ensure!(
            text.contains(word),
            "{word} is not found in {place}: the search is blind"
        );
    }
    Ok(())
}

/// As it is, in base64 as Secrets hold it, and in the digits by which scripts carry it into SQL.
fn forms(password: &str) -> Result<[String; 4]> {
    let base64 = serde_json::to_value(ByteString(password.as_bytes().to_vec()))?;
    let base64 = base64
        .as_str()
        .context("no text")?
        .trim_end_matches('=')
        .to_owned();
    let hex: String = password.bytes().map(|byte| format!("{byte:02x}")).collect();
    let upper = hex.to_uppercase();
    Ok([password.to_owned(), base64, hex, upper])
}

/// Writes held by a Job with the administrator's password, and a copy keyed to its own passwords; returns those.
async fn copied(space: &Space, engine: Engine) -> Result<[(&'static str, String); 2]> {
    let (name, copy) = (engine.name(), format!("{}-copy", engine.name()));
    space
        .back_up(name, json!({"instance": name, "method": "Quiesced"}))
        .await?;
    space.restore(&copy, name, &copy).await?;
    Ok([
        (
            "administrator of the copy",
            secret(space, &format!("{copy}-admin"), "admin-password").await?,
        ),
        ("user of the copy", secret(space, &copy, "password").await?),
    ])
}

/// A cluster with a generated password, and then one of the user's own.
async fn clustered(space: &Space) -> Result<[(&'static str, String); 2]> {
    space.admit_zalando().await?;
    let spec = json!({"engine": "postgresql", "replicas": 1, "storage": {"size": "1Gi"}});
    space.apply_ha("cluster", spec).await?;
    space.until_ha("cluster").await?;
    let generated = secret(space, "cluster", "password").await?;
    let chosen = own_password(space, "cluster", &generated).await?;
    space
        .patch_ha(
            "cluster",
            json!({"credentialsSecret": {"name": "cluster-chosen"}}),
        )
        .await?;
    space
        .until("the binding has the chosen password", || async {
            Ok(secret(space, "cluster", "password").await? == chosen)
        })
        .await?;
    space.until_ha("cluster").await?;
    Ok([
        ("the cluster, generated", generated),
        ("the cluster, chosen", chosen),
    ])
}
