//! What users do, as far as the rules have to do with it: each act waits until its condition holds.

mod acts;
mod backups;
mod clusters;
mod instances;
mod not_ours;
mod states;

pub use states::condition;

use super::api_server::Cluster;

type When = fn(&Cluster) -> bool;
type Does = fn(&mut Cluster);

pub struct Story {
    pub name: &'static str,
    pub acts: Vec<(When, Does)>,
    /// Holds in the end.
    pub end: fn(&Cluster),
    /// Whether how it ends depends on how far the operator was at an act, so that it is not compared.
    pub depends_on_when: bool,
}

fn story(name: &'static str, acts: &[(When, Does)], end: fn(&Cluster)) -> Story {
    Story {
        name,
        acts: acts.to_vec(),
        end,
        depends_on_when: false,
    }
}

impl Story {
    fn depends_on_when(self) -> Self {
        Story {
            depends_on_when: true,
            ..self
        }
    }
}

/// All stories.
pub fn all() -> Vec<Story> {
    let all = [
        instances::all(),
        backups::all(),
        not_ours::all(),
        clusters::all(),
    ];
    all.into_iter().flatten().collect()
}

/// What a person does when the status asks for it: a last backup that failed is deleted to have it tried again.
pub fn remedy(cluster: &mut Cluster) -> bool {
    for (instance, found) in cluster.of_kind("DatabaseInstance") {
        if condition(&found.value, "Ready").1 != "FinalBackupFailed" {
            continue;
        }
        let all = cluster.living("DatabaseBackup").into_iter();
        let mut failed = all.filter(|(key, backup)| {
            key.1 == instance.1 && backup.value["status"]["phase"] == "Failed"
        });
        if let Some((key, _)) = failed.next() {
            cluster.delete(&key);
            return true;
        }
    }
    false
}
