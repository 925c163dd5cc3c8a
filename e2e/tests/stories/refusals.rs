//! What can never be is refused by the API server, with the field's name and what is allowed.

use anyhow::{Result, ensure};
use e2e::space::story;
use serde_json::{Value, json};

use crate::stalls::{says, spec, stopped};

fn object(name: &str, spec: Value) -> String {
    json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance", "metadata": {"name": name},
        "spec": spec})
        .to_string()
}

#[tokio::test]
async fn the_api_server_refuses_what_can_never_be() -> Result<()> {
    story("story-refusals-creation", |space| async move {
        let before = space.objects().await?;
        let long = "a".repeat(53);
        let size = |size: &str| json!({"storage": {"size": size}});
        let user = |name: &str| json!({"username": name});
        let database = |name: &str| json!({"database": name});
        let texts = |text: &str, times: usize| -> Value {
            (0..times).map(|n| (format!("a{n}"), json!(text))).collect()
        };
        let (wide, long_values) = ("ä".repeat(2048), vec!["v".repeat(300); 27]);
        let expressions = json!([{"key": "k", "operator": "In", "values": long_values}]);
        let selector = json!({"matchExpressions": expressions});
        let cases: &[(&str, &str, Value, &[&str])] = &[
            (
                "a",
                "mysql",
                json!({"parameters": texts(&"x".repeat(2000), 9)}),
                &["spec.parameters", "at most 16384 bytes in all"],
            ),
            (
                "a",
                "mysql",
                json!({"service": {"annotations": texts(&wide, 4)}}),
                &["spec.service.annotations", "at most 16384 bytes in all"],
            ),
            (
                "a",
                "mysql",
                json!({"network": {"allowFrom": [{"podSelector": selector}]}}),
                &["spec.network.allowFrom", "at most 8192 bytes in all"],
            ),
            (
                "a",
                "mysql",
                json!({"scheduling": {"nodeSelector": {"zone": "ä"}}}),
                &["spec.scheduling.nodeSelector.zone", "^[ -~]*$"],
            ),
            (
                "a",
                "oracle",
                json!({}),
                &["spec.engine", "postgresql", "mysql", "mariadb"],
            ),
            (
                "a",
                "postgresql",
                json!({"version": "16"}),
                &["spec.version", "which has", "17"],
            ),
            (
                "a",
                "mysql",
                json!({"version": "5.7"}),
                &["spec.version", "which has", "9.7"],
            ),
            (
                "a",
                "mariadb",
                json!({"version": "latest"}),
                &["spec.version"],
            ),
            (
                "a",
                "mysql",
                json!({"storage": null}),
                &["spec.storage", "Required"],
            ),
            (
                "a",
                "mysql",
                size("0"),
                &["spec.storage.size", "greater than zero", "10Gi"],
            ),
            (
                "a",
                "mysql",
                size("-1Gi"),
                &["spec.storage.size", "greater than zero", "10Gi"],
            ),
            (
                "a",
                "mysql",
                size("10 gigs"),
                &["spec.storage.size", "10Gi"],
            ),
            (
                &long,
                "mysql",
                json!({}),
                &["metadata.name", "52 characters"],
            ),
            (
                "a.b",
                "mysql",
                json!({}),
                &["metadata.name", "lower-case letters"],
            ),
            ("Shop", "mysql", json!({}), &["metadata.name", "lower case"]),
            (
                "shop-admin",
                "mysql",
                json!({}),
                &["metadata.name", "-admin"],
            ),
            (
                "a",
                "postgresql",
                user("postgres"),
                &["spec.username", "reserved", "'app'"],
            ),
            (
                "a",
                "postgresql",
                user("pg_monitor"),
                &["spec.username", "reserved", "pg_"],
            ),
            (
                "a",
                "mysql",
                user("root"),
                &["spec.username", "reserved", "'app'"],
            ),
            (
                "a",
                "mysql",
                user("mysql.sys"),
                &["spec.username", "reserved", "mysql."],
            ),
            (
                "a",
                "mariadb",
                user("mariadb.sys"),
                &["spec.username", "reserved"],
            ),
            (
                "a",
                "mariadb",
                user("minidbaas"),
                &["spec.username", "reserved"],
            ),
            (
                "a",
                "postgresql",
                database("template1"),
                &["spec.database", "reserved"],
            ),
            (
                "a",
                "mysql",
                database("INFORMATION_SCHEMA"),
                &["spec.database", "reserved"],
            ),
            (
                "a",
                "mariadb",
                database("sys"),
                &["spec.database", "reserved"],
            ),
        ];
        for (name, engine, changes, words) in cases {
            let text = object(name, spec(engine, changes.clone()));
            let said = space.refused(&["apply", "-f", "-"], &text).await?;
            says(&said, words)?;
        }
        let strict = ["apply", "--validate=strict", "-f", "-"];
        let text = object("a", spec("mysql", json!({"storag": {"size": "1Gi"}})));
        says(
            &space.refused(&strict, &text).await?,
            &["unknown field", "spec.storag"],
        )?;
        ensure!(space.objects().await? == before, "something was made");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_api_server_refuses_changes_that_would_lose_data() -> Result<()> {
    story("story-refusals-change", |space| async move {
        let storage = json!({"size": "2Gi", "className": "fixed-size"});
        let whole = spec(
            "postgresql",
            json!({"storage": storage, "version": "17", "database": "shop",
            "deletionProtection": true}),
        );
        space.apply_instance("shop", whole).await?;
        stopped(&space, "shop").await?;
        let size = |size: &str| json!({"storage": {"size": size}});
        let cases: &[(Value, &[&str])] = &[
            (
                json!({"engine": "mysql"}),
                &["spec.engine", "cannot be changed"],
            ),
            (
                json!({"database": "other"}),
                &["spec.database", "cannot be changed"],
            ),
            (
                json!({"database": null}),
                &["spec.database", "cannot be changed"],
            ),
            (
                json!({"username": "other"}),
                &["spec.username", "cannot be changed"],
            ),
            (json!({"version": "16"}), &["spec.version", "major version"]),
            (
                json!({"version": "17.999"}),
                &["spec.version", "which has", "17"],
            ),
            (
                json!({"storage": {"className": "btrfs"}}),
                &["spec.storage.className", "cannot be changed"],
            ),
            (size("1Gi"), &["spec.storage.size", "can only grow"]),
            (size("0"), &["spec.storage.size", "greater than zero"]),
            (
                size("3Gi"),
                &["spec.storage.size", "fixed-size", "cannot grow"],
            ),
        ];
        for (change, words) in cases {
            let patch = json!({"spec": change}).to_string();
            let patch = [
                "patch",
                "dbinstance",
                "shop",
                "--type=merge",
                "--patch",
                &patch,
            ];
            says(&space.refused(&patch, "").await?, words)?;
        }
        let said = space.refused(&["delete", "dbinstance", "shop"], "").await?;
        says(&said, &["spec.deletionProtection", "set it to false"])?;
        space
            .patch("shop", json!({"deletionProtection": false}))
            .await?;
        space.kubectl(&["delete", "dbinstance", "shop"], "").await?;
        Ok(())
    })
    .await
}

/// What the operator relies upon when it applies what it has not seen: with the resource version that no object has, an
/// object is made where there is none, and never merged into one that came a moment ago.
#[tokio::test]
async fn what_is_applied_as_new_is_not_merged_into_what_is_there() -> Result<()> {
    story("story-refusals-new", |space| async move {
        let pods = json!({"matchLabels": {"a": "b"}});
        let template = json!({"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "registry.invalid/none"}]}});
        let kinds = [
            ("ConfigMap", "v1", json!({"data": {"a": "b"}})),
            ("Service", "v1", json!({"spec": {"ports": [{"port": 80}]}})),
            (
                "NetworkPolicy",
                "networking.k8s.io/v1",
                json!({"spec": {"podSelector": pods}}),
            ),
            (
                "StatefulSet",
                "apps/v1",
                json!({"spec": {"replicas": 0, "serviceName": "new", "selector": pods, "template": template}}),
            ),
        ];
        for (kind, version, mut object) in kinds {
            object["apiVersion"] = json!(version);
            object["kind"] = json!(kind);
            object["metadata"] = json!({"name": "new", "resourceVersion": "1"});
            let apply = |manager: &'static str| {
                ["apply", "--server-side", "--field-manager", manager, "-f", "-"]
            };
            space
                .kubectl(&apply("theirs"), &object.to_string())
                .await?;
            object["metadata"]["labels"] = json!({"only": "ours"});
            let said = space
                .refused(&apply("ours"), &object.to_string())
                .await?;
            says(&said, &["the object has been modified"])?;
            let found = space.get(&format!("{kind}/new")).await?;
            let labels = found.map(|found| found["metadata"]["labels"].clone());
            ensure!(labels == Some(Value::Null), "{kind}: {labels:?}");
        }
        Ok(())
    })
    .await
}
