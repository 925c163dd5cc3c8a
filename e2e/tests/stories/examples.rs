//! The examples are what users copy: each is accepted as it stands, and those that show a behaviour show it.

use anyhow::{Result, ensure};
use api::Engine;
use e2e::Database;
use e2e::client::secret;
use e2e::cluster::root;
use e2e::space::story;

#[tokio::test]
async fn every_example_is_accepted_to_the_last_field() -> Result<()> {
    story("story-examples", |space| async move {
        let mut files: Vec<_> = std::fs::read_dir(root().join("examples"))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        ensure!(
            files.len() >= 17,
            "only {} examples were found",
            files.len()
        );
        for file in files {
            space
                .kubectl(
                    &[
                        "apply",
                        "--dry-run=server",
                        "--validate=strict",
                        "-f",
                        &file.display().to_string(),
                    ],
                    "",
                )
                .await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn own_credentials_and_a_stopped_instance_do_what_they_say() -> Result<()> {
    story("story-own-credentials", |space| async move {
        let example = |name: &str| root().join("examples").join(name).display().to_string();
        space
            .kubectl(
                &[
                    "apply",
                    "-f",
                    &example("own-credentials.yaml"),
                    "-f",
                    &example("stopped.yaml"),
                ],
                "",
            )
            .await?;
        space.until_settled("crm").await?;
        ensure!(secret(&space, "crm", "password").await? == "please-change-me");
        let database = Database::bound(&space, Engine::Postgresql, "crm").await?;
        ensure!(
            database
                .sql("SELECT current_user, current_database()")
                .await?
                == "crm\tcrm"
        );
        space
            .until_condition("archive", "Ready", "False", "Stopped")
            .await?;
        ensure!(
            space
                .kubectl(&["get", "pods", "-o", "name"], "")
                .await?
                .lines()
                .all(|pod| !pod.contains("archive"))
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_gitops_folder_becomes_two_databases() -> Result<()> {
    story("team-a", |space| async move {
        space
            .kubectl(
                &[
                    "apply",
                    "-k",
                    &root().join("examples/gitops").display().to_string(),
                ],
                "",
            )
            .await?;
        space.until_settled("accounts").await?;
        space.until_settled("sessions").await?;
        // A GitOps tool applies the same again and again: nothing may differ.
        let said = space
            .kubectl(
                &[
                    "diff",
                    "-k",
                    &root().join("examples/gitops").display().to_string(),
                ],
                "",
            )
            .await;
        ensure!(
            said.is_ok(),
            "the folder differs from what is there: {said:?}"
        );
        Ok(())
    })
    .await
}
