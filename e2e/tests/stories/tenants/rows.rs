//! Every attack with what must be so, and the table of what came of each.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Has nothing but our four kinds, in one namespace.
pub const USER: &str = "user";
/// Has his two namespaces, and nothing of cluster scope.
pub const ADMIN: &str = "admin";
/// May do everything, and makes a mistake.
pub const ROOT: &str = "root";
/// Reaches pods, and has no rights at all.
pub const NOBODY: &str = "nobody";

/// After so long without an answer an attack counts as broken. All others run beside it.
const PATIENCE: Duration = Duration::from_secs(180);

/// One attack.
pub struct Row {
    /// By what the code finds it.
    pub name: &'static str,
    /// What is tried.
    pub tried: &'static str,
    /// By whom.
    pub who: &'static str,
    /// What must be so.
    pub must: &'static str,
}

const fn row(
    name: &'static str,
    who: &'static str,
    tried: &'static str,
    must: &'static str,
) -> Row {
    Row {
        name,
        tried,
        who,
        must,
    }
}

/// All of them, in the order in which they are told.
#[rustfmt::skip]
pub const ALL: &[Row] = &[
    row("rights", USER, "reads Secrets and claims, writes a status",
        "refused: the people of this story have no more than is said"),
    row("stalled, Snapshot", USER, "deletes a NameTaken instance with deletionPolicy Snapshot",
        "the conflict's claim and Secrets are untouched"),
    row("stalled, Delete", USER, "the same with Delete and the finalizer of Snapshot",
        "the conflict's claim and Secrets are untouched"),
    row("mistyped, Snapshot", USER, "deletes a RetainedDataMismatch instance with Snapshot",
        "the retained claim and its rows are there"),
    row("mistyped, Delete", USER, "the same with Delete and the finalizer of Snapshot",
        "the retained claim and its rows are there"),
    row("forged, restore", ADMIN, "restores a forged backup that names another namespace's content",
        "no copy of the content, no rows"),
    row("forged, restoreFrom", ADMIN, "starts an instance from such a backup", "no copy of the content, no rows"),
    row("deputy", USER, "deletes an HACluster named like foreign objects, finalizer by hand",
        "StatefulSet, Secret and claim are untouched"),
    row("deputy, labels", USER, "the same with our labels on the foreign objects",
        "StatefulSet, Secret and claim are untouched"),
    row("servers' names", USER, "HAClusters whose servers have the names of a foreign claim, Secret and records",
        "NameTaken; these are untouched"),
    row("two servers", ADMIN, "scales the StatefulSet of a paused instance to 2",
        "the second pod never serves, no acknowledged row is lost"),
    row("large keys", USER, "a key of 1 MB, a parameter of 60 kB, 18 kB of short ones", "refused at admission"),
    row("backup held", USER, "restores without consent name another namespace's old backup",
        "retention deletes it all the same"),
    row("verifications held", USER, "two verifications that fit no node",
        "the verification of another namespace comes to its end"),
    row("names in URLs", USER, "`a b`, `a?b#c`, `../../x` in each field that names an object",
        "refused at admission"),
    row("paused, deleted", USER, "deletes a paused instance that a finalizer holds", "the status says Paused"),
    row("Secret's type", USER, "credentialsSecret names a Secret of another type",
        "CredentialsInvalid, and nothing is made"),
    row("priority", USER, "priorityClassName: system-cluster-critical", "refused at admission"),
    row("verification by hand", USER, "makes a throw-away instance, which takes a place for proofs",
        "refused at admission"),
    row("definitions", ROOT, "deletes our CRDs while there are objects (dry run)", "refused at admission"),
    row("scripts", ADMIN, "edits the scripts that the server's pod runs", "refused by the API server"),
    row("forged Job", ADMIN, "a Job with the labels of an instance's own",
        "it is left alone, and the instance goes on"),
    row("forged hold", ADMIN, "a Job and a pod that look like the hold of a Quiesced backup",
        "left alone, and the backup does not count them as its hold"),
    // Those that held already.
    row("table names", USER, "tables with client commands in their names are checked",
        "the check ends well, nothing was run"),
    row("../ in names", USER, "objects named ../x", "refused at admission"),
    row("living snapshot", ADMIN, "forges the content in the status of a living VolumeSnapshot",
        "no copy of another namespace's content, no rows of it"),
    row("scaled", ADMIN, "scales the StatefulSet to 3", "the operator sets it back, no acknowledged row is lost"),
    row("killed", ADMIN, "deletes the pod by force while a client writes", "no acknowledged row is lost"),
    row("300 stalled", USER, "300 instances that stall", "another instance is served"),
    row("many /readyz", NOBODY, "thousands of /readyz at once", "the operator stays ready and holds its Lease"),
    row("deletecollection", ADMIN, "deletes a collection with a protected instance in it",
        "the protected one stays"),
];

/// A step that is no attack, but has to be done for one.
pub async fn within<T>(what: &str, doing: impl Future<Output = Result<T>>) -> Result<T> {
    let done = tokio::time::timeout(PATIENCE, doing).await;
    done.with_context(|| format!("{what}: not done within {PATIENCE:?}"))?
        .with_context(|| what.to_owned())
}

struct Outcome {
    name: &'static str,
    broken: Option<String>,
    took: Duration,
}

/// What came of the rows until now.
#[derive(Default)]
pub struct Table(Mutex<Vec<Outcome>>);

impl Table {
    /// Tries one row; whatever comes of it, the others go on.
    pub async fn run(&self, name: &str, trying: impl Future<Output = Result<()>>) -> Result<()> {
        let row = ALL.iter().find(|row| row.name == name);
        let row = row.with_context(|| format!("there is no row {name}"))?;
        let began = Instant::now();
        let tried = tokio::time::timeout(PATIENCE, trying).await;
        let broken = match tried {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some(format!("no answer within {PATIENCE:?}")),
        };
        let took = began.elapsed();
        eprintln!(
            "tenants {name}: {} ({took:.1?})",
            broken.as_deref().unwrap_or("held")
        );
        let mut outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.push(Outcome {
            name: row.name,
            broken,
            took,
        });
        Ok(())
    }

    /// Prints the table; an error with the details if a row broke or was not tried.
    pub fn end(&self) -> Result<()> {
        let outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut details = String::new();
        eprintln!("| attack | who | what is tried | what must be so | | s |");
        eprintln!("| --- | --- | --- | --- | --- | --- |");
        for row in ALL {
            let outcome = outcomes.iter().find(|outcome| outcome.name == row.name);
            let (result, took) = match outcome {
                Some(Outcome {
                    broken: None, took, ..
                }) => ("held", *took),
                Some(Outcome {
                    broken: Some(why),
                    took,
                    ..
                }) => {
                    details += &format!("\n{}: {why}", row.name);
                    ("BROKEN", *took)
                }
                None => {
                    details += &format!("\n{}: it was not tried", row.name);
                    ("NOT TRIED", Duration::ZERO)
                }
            };
            let Row {
                name,
                who,
                tried,
                must,
                ..
            } = row;
            let took = took.as_secs_f64();
            eprintln!("| {name} | {who} | {tried} | {must} | {result} | {took:.1} |");
        }
        if !details.is_empty() {
            bail!("attacks that did not hold:{details}");
        }
        Ok(())
    }
}
