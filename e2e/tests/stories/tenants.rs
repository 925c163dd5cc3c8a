//! Attacks by tenants on what is not theirs: each row of the table `rows` is tried, and the table is printed.

mod admission;
mod conflicts;
mod copies;
mod crowd;
mod data;
mod forged;
mod forgery;
mod people;
mod rows;

use anyhow::Result;
use e2e::space::story;
use e2e::{Cluster, Space};
use serde_json::json;

use copies::VICTIMS_ROW;
use forgery::{Forgery, Truth};
use rows::{Table, within};

const HOME: &str = "story-tenants";

/// Where the attacks are made, another namespace of the same administrator, and one that is none of theirs.
struct World<'a> {
    home: &'a Space,
    two: &'a Space,
    victim: &'a Space,
    table: Table,
}

#[tokio::test]
async fn tenants_reach_nothing_that_is_not_theirs() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let [home, two] = ["", "-two"].map(|part| Space {
        cluster: cluster.clone(),
        name: format!("{HOME}{part}"),
    });
    // An interrupted run may have left what holds its namespaces.
    loosen(&home, &two).await?;
    story(HOME, |home| async move {
        let [two, victim] = ["two", "victim"].map(|name| format!("{HOME}-{name}"));
        let (two, victim) = futures::try_join!(
            Space::make(home.cluster.clone(), &two),
            Space::make(home.cluster.clone(), &victim),
        )?;
        people::grant(&home, &two).await?;
        let world = World {
            home: &home,
            two: &two,
            victim: &victim,
            table: Table::default(),
        };
        let told = world.tell().await;
        // A client whose database is broken would go on trying for as long as its pod is there.
        gone(&home, "pod/client-postgresql").await.ok();
        let end = world.table.end();
        told?;
        end?;
        for space in [&two, &victim] {
            let words = ["delete", "namespace", &space.name, "--wait=false"];
            home.cluster.kubectl(&words, "").await?;
        }
        Ok(())
    })
    .await
}

/// Takes off what keeps resources of the attacks from going.
async fn loosen(home: &Space, two: &Space) -> Result<()> {
    Forgery::unmake(home).await.ok();
    for name in ["resting", "pictures", "novels", "shop"] {
        forged::unpaused(home, name).await.ok();
    }
    admission::no_objects(home).await.ok();
    forgery::loosen(home, two).await
}

impl World<'_> {
    /// What waits goes side by side; no more than three servers at a time. What could not be prepared does not end the
    /// rest.
    async fn tell(&self) -> Result<()> {
        let World { home, victim, .. } = self;
        let shop = || json!({"database": "shop"});
        futures::try_join!(
            within("shop", data::serve(home, "shop", shop())),
            within("the victim's", data::serve(victim, "shop", shop())),
        )?;
        // On the heap: all of it at once is more than a test's stack has room for.
        let (told, deputies, own, copies) = futures::join!(
            Box::pin(self.refusals()),
            Box::pin(self.deputies()),
            Box::pin(self.own_database()),
            Box::pin(self.strangers_and_copies()),
        );
        // Beside so many, other rows would only take longer.
        self.table.run("300 stalled", crowd::stalled(home)).await?;
        let stalled = crowd::none_stalled(home).await;
        [told, deputies, own, copies, stalled].into_iter().collect()
    }

    /// Nothing of it makes a pod.
    async fn refusals(&self) -> Result<()> {
        let World { home, table, .. } = self;
        let names = admission::names_in_urls(home);
        table.run("names in URLs", names).await?;
        let paths = admission::paths_as_names(home);
        table.run("../ in names", paths).await?;
        table.run("large keys", admission::large_keys(home)).await?;
        table.run("priority", admission::priority(home)).await?;
        let by_hand = admission::verification(home);
        table.run("verification by hand", by_hand).await?;
        let definitions = admission::definitions(home);
        table.run("definitions", definitions).await?;
        admission::no_objects(home).await?;
        let resting = forged::paused_and_deleted(home, "resting");
        table.run("paused, deleted", resting).await?;
        forged::unpaused(home, "resting").await
    }

    /// Most of it is waiting.
    async fn deputies(&self) -> Result<()> {
        let World { home, table, .. } = self;
        let ours = json!({
            "app.kubernetes.io/managed-by": "minidbaas", "app.kubernetes.io/component": "ha-cluster",
            "minidbaas.dev/ha-cluster": "labelled",
        });
        let plain = conflicts::deputy(home, "foreign", json!({}));
        let labelled = conflicts::deputy(home, "labelled", ours);
        let names = conflicts::names_of_servers(home);
        futures::try_join!(
            table.run("deputy", plain),
            table.run("deputy, labels", labelled),
            table.run("servers' names", names),
        )
        .map(|_| ())
    }

    async fn conflicts(&self) -> Result<()> {
        let World {
            home, two, table, ..
        } = self;
        let uploads = conflicts::stalled(home, "uploads", "Snapshot");
        let pictures = conflicts::stalled(home, "pictures", "Delete");
        futures::try_join!(
            table.run("stalled, Snapshot", uploads),
            table.run("stalled, Delete", pictures),
        )?;
        forged::unpaused(home, "pictures").await?;
        let typed = admission::type_of_secret(home);
        table.run("Secret's type", typed).await?;
        gone(home, "dbinstances/typed").await?;
        for (name, policy, row) in [
            ("letters", "Snapshot", "mistyped, Snapshot"),
            ("novels", "Delete", "mistyped, Delete"),
        ] {
            let left = within(name, data::retained(home, name)).await?;
            let mistyped = data::mistyped(home, name, policy, &left);
            table.run(row, mistyped).await?;
            forged::unpaused(home, name).await?;
            gone(home, &format!("dbinstances/{name}")).await?;
        }
        within("heavy", copies::heavy(home)).await?;
        within("a backup of one's own", copies::own(home, two)).await?;
        table
            .run("deletecollection", crowd::protected(home))
            .await?;
        table.run("many /readyz", crowd::many_questions(home)).await
    }

    /// The database of the namespace where the attackers are at home.
    async fn own_database(&self) -> Result<()> {
        let World {
            home,
            victim,
            table,
            ..
        } = self;
        table.run("rights", people::rights(home, victim)).await?;
        let scripts = admission::scripts(home, "shop");
        table.run("scripts", scripts).await?;
        let forged = forged::forged_job(home, "shop");
        table.run("forged Job", forged).await?;
        table.run("killed", data::killed(home, "shop")).await?;
        table.run("scaled", data::scaled(home, "shop")).await?;
        let hold = forged::forged_hold(home, "shop");
        table.run("forged hold", hold).await?;
        forged::no_hold(home).await?;
        table
            .run("two servers", data::two_servers(home, "shop"))
            .await?;
        data::alone_again(home, "shop").await
    }

    /// What takes servers of its own goes first.
    async fn strangers_and_copies(&self) -> Result<()> {
        let World {
            home,
            two,
            victim,
            table,
        } = self;
        let (conflicts, forgery) = futures::join!(self.conflicts(), self.copies());
        conflicts?;
        let forgery = forgery?;
        let truth = Truth::of(home, "own").await?;
        let swapped = forgery.swapped("own", "1");
        table.run("living snapshot", swapped).await?;
        truth.tell().await?;
        gone(two, "dbinstances").await?;
        let verifications = copies::verifications(home, victim);
        table.run("verifications held", verifications).await?;
        copies::no_proofs(home).await
    }

    /// What another namespace has.
    async fn copies(&self) -> Result<Forgery<'_>> {
        let World {
            home,
            two,
            victim,
            table,
        } = self;
        let row = data::with_row(victim, "shop", VICTIMS_ROW);
        within("the victim's row", row).await?;
        let checked = copies::table_names(victim);
        table.run("table names", checked).await?;
        let forgery = Forgery::learn(home, two, victim).await?;
        forgery.make().await?;
        futures::try_join!(
            table.run("forged, restore", forgery.restored("loot")),
            table.run("forged, restoreFrom", forgery.started_from("booty")),
            table.run("backup held", copies::held_back(home, victim)),
        )?;
        Forgery::unmake(home).await?;
        gone(two, "dbinstances,dbrestores").await?;
        Ok(forgery)
    }
}

/// Deletes what a row has left, one object or all of a kind, and does not wait for its end.
async fn gone(space: &Space, what: &str) -> Result<()> {
    let all: &[&str] = if what.contains('/') { &[] } else { &["--all"] };
    let words = ["delete", what, "--ignore-not-found", "--wait=false"];
    space.kubectl(&[&words, all].concat(), "").await.map(|_| ())
}
