//! Very many at once.

use anyhow::{Context, Result, ensure};
use e2e::Space;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::data::serve;
use super::people::{admin, ours, user};
use crate::backup_refusals::small;

/// How many instances stall.
const STALLED: usize = 300;
/// How many questions are asked, and how many of them at a time.
const QUESTIONS: (usize, usize) = (2000, 200);

/// They wait for a Secret that is not there; one more is served meanwhile.
pub async fn stalled(space: &Space) -> Result<()> {
    let spec = || small("postgresql", json!({"credentialsSecret": {"name": "none"}}));
    let items = (0..STALLED).map(|number| {
        let mut object = ours("DatabaseInstance", &format!("stalled-{number:03}"), spec());
        object["metadata"]["labels"] = json!({"tenants": "stalled"});
        object
    });
    let items: Vec<Value> = items.collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let words = ["create", "-o=name", "-f", "-"];
    user(space).kubectl(&words, &list.to_string()).await?;
    serve(space, "good", json!({})).await?;
    let words = [
        "get",
        "dbinstances",
        "-l=tenants=stalled",
        "-o=jsonpath={.items[*].status.conditions[?(@.type==\"Stalled\")].reason}",
    ];
    let all = || async {
        let said = space.kubectl(&words, "").await?;
        Ok(said
            .split(' ')
            .filter(|reason| reason.starts_with("Credentials"))
            .count()
            == STALLED)
    };
    space.until("each says why it is stalled", all).await
}

/// They go.
pub async fn none_stalled(space: &Space) -> Result<()> {
    collection(space, "tenants%3Dstalled").await.map(|_| ())
}

/// deletecollection with this selector, by the administrator of the namespace.
async fn collection(space: &Space, selector: &str) -> Result<String> {
    let path = format!(
        "/apis/minidbaas.dev/v1alpha1/namespaces/{}/databaseinstances?labelSelector={selector}",
        space.name
    );
    admin(space).kubectl(&["delete", "--raw", &path], "").await
}

/// A collection in which one is protected.
pub async fn protected(space: &Space) -> Result<()> {
    for (name, protected) in [("protected", true), ("unprotected", false)] {
        let changes =
            json!({"deletionProtection": protected, "credentialsSecret": {"name": "none"}});
        let mut object = ours("DatabaseInstance", name, small("postgresql", changes));
        object["metadata"]["labels"] = json!({"tenants": "collection"});
        user(space).apply(&object).await?;
    }
    // It may be refused as a whole or for the one; what counts is what is left.
    let said = collection(space, "tenants%3Dcollection").await;
    let there = space.field("dbinstance/protected", ".metadata.uid").await?;
    let leaving = space
        .field("dbinstance/protected", ".metadata.deletionTimestamp")
        .await?;
    ensure!(
        !there.is_empty() && leaving.is_empty(),
        "it is going: {said:?}"
    );
    let said = said
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(
        said.contains("spec.deletionProtection"),
        "nothing is said of it: {said}"
    );
    Ok(())
}

/// The operator's pod, its restarts, and who holds the Lease since when.
async fn operator(space: &Space) -> Result<[String; 4]> {
    let pods = [
        "-n=minidbaas-system",
        "get",
        "pods",
        "-l=app.kubernetes.io/name=minidbaas",
        "-o=jsonpath={range .items[?(@.status.phase==\"Running\")]}{.metadata.name} {.status.podIP} \
            {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}{\"\\n\"}{end}",
    ];
    let pods = space.cluster.kubectl(&pods, "").await?;
    let pod: Vec<&str> = pods
        .lines()
        .next()
        .context("no operator runs")?
        .split(' ')
        .collect();
    ensure!(
        pod.len() == 4 && pod[3] == "true",
        "the operator is not ready: {pods}"
    );
    let lease = [
        "-n=minidbaas-system",
        "get",
        "lease",
        "minidbaas",
        "-o=jsonpath={.spec.holderIdentity} {.spec.leaseTransitions}",
    ];
    let lease = space.cluster.kubectl(&lease, "").await?;
    Ok([
        pod[0].to_owned(),
        pod[1].to_owned(),
        pod[2].to_owned(),
        lease,
    ])
}

/// One question; whether the answer was yes.
async fn ask(address: &str) -> Result<bool> {
    let mut stream = TcpStream::connect((address, 8080)).await?;
    let question = b"GET /readyz HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n";
    stream.write_all(question).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

/// The operator answers, and does its work all the same.
pub async fn many_questions(space: &Space) -> Result<()> {
    let before = operator(space).await?;
    let address = before[1].as_str();
    ensure!(ask(address).await?, "the operator is not ready");
    let (all, at_once) = QUESTIONS;
    let answers = futures::stream::iter(0..all).map(|_| ask(address));
    let answers: Vec<Result<bool>> = answers.buffer_unordered(at_once).collect().await;
    let yes = answers
        .iter()
        .filter(|answer| matches!(answer, Ok(true)))
        .count();
    ensure!(ask(address).await?, "the operator is not ready afterwards");
    let now = operator(space).await?;
    ensure!(now == before, "it was {before:?} and is {now:?}");
    ensure!(yes > 0, "no question was answered");
    eprintln!("tenants: {yes} of {all} questions were answered with yes");
    Ok(())
}
