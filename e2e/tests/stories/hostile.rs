//! Names and passwords full of quotes, wildcards and other scripts' letters are no more than names and passwords.

mod triples;

use anyhow::{Context, Result, ensure};
use api::Engine;
use e2e::client::secret;
use e2e::length::{engines, many};
use e2e::space::story;
use e2e::{Database, Space, cluster};
use futures::future::try_join_all;
use serde_json::{Value, json};

use triples::Triple;

const MANY: &str = include_str!("hostile/many.sh");

#[tokio::test]
async fn hostile_names_and_passwords_are_only_names_and_passwords() -> Result<()> {
    let engines = engines(&[Engine::Postgresql, Engine::Mysql]).into_iter();
    try_join_all(engines.map(hostile)).await.map(|_| ())
}

async fn hostile(engine: Engine) -> Result<()> {
    let name = format!("story-hostile-{}", engine.name());
    let memory = match engine {
        Engine::Postgresql => "128Mi",
        Engine::Mysql => "512Mi",
        Engine::Mariadb => "192Mi",
    };
    story(&name, |space| async move {
        let mut triples = triples::through_secrets(engine);
        triples.truncate(many(2, triples.len()));
        for (number, triple) in triples.iter().enumerate() {
            apply(&space, engine, memory, number, triple).await?;
        }
        for (number, triple) in triples.iter().enumerate() {
            used_through_uri(&space, engine, number, triple).await?;
        }
        // Each gets the password of the next, inside the running database.
        let passwords: Vec<String> = triples
            .iter()
            .map(|triple| triple.password.clone())
            .collect();
        for (number, triple) in triples.iter_mut().enumerate() {
            triple.password = passwords[(number + 1) % passwords.len()].clone();
            let secret = password(&space, &format!("changed-{number}"), triple).await?;
            space
                .patch(&instance(number), json!({"credentialsSecret": secret}))
                .await?;
        }
        for (number, triple) in triples.iter().enumerate() {
            used_through_uri(&space, engine, number, triple).await?;
        }
        space
            .step("many in one server", hundred(&space, engine))
            .await
    })
    .await
}

/// The binding leads to the triple's own database, and nothing but its password does.
async fn used_through_uri(
    space: &Space,
    engine: Engine,
    number: usize,
    triple: &Triple,
) -> Result<()> {
    let instance = instance(number);
    space.until_settled(&instance).await?;
    let bound = secret(space, &instance, "password").await?;
    ensure!(
        bound == triple.password,
        "the binding of {triple:?} has {bound}"
    );
    let database = Database::bound(space, engine, &instance).await?;
    let said = database.sql(&questions(engine)).await;
    let said = said.with_context(|| format!("{triple:?}"))?;
    let said = said.replace(['\t', '\n'], " ");
    ensure!(
        said.trim() == answers(engine, triple),
        "{triple:?} is {said}"
    );
    let refused = database.with_password("another").sql("SELECT 1").await;
    ensure!(refused.is_err(), "{triple:?} needs no password");
    Ok(())
}

/// Makes a Secret with the triple's password, and what refers to it.
async fn password(space: &Space, name: &str, triple: &Triple) -> Result<Value> {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/basic-auth",
        "stringData": {"username": triple.user, "password": triple.password},
    });
    space.apply(&object.to_string()).await?;
    Ok(json!({"name": name}))
}

fn instance(number: usize) -> String {
    format!("hostile-{number}")
}

async fn apply(
    space: &Space,
    engine: Engine,
    memory: &str,
    number: usize,
    triple: &Triple,
) -> Result<()> {
    let secret = password(space, &format!("password-{number}"), triple).await?;
    let resources =
        json!({"requests": {"cpu": "5m", "memory": memory}, "limits": {"memory": memory}});
    let spec = json!({
        "engine": engine.name(), "storage": {"size": "1Gi"}, "resources": resources,
        "username": triple.user, "database": triple.database, "credentialsSecret": secret,
    });
    space.apply_instance(&instance(number), spec).await
}

/// Who am I, where am I, is it mine, am I more than its owner; and an owner's work.
fn questions(engine: Engine) -> String {
    let who = match engine {
        Engine::Postgresql => {
            "SELECT encode(convert_to(current_user::text, 'UTF8'), 'hex'), encode(convert_to(datname::text, 'UTF8'), \
                'hex'),
                pg_get_userbyid(datdba) = current_user,
                rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
             FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user;"
        }
        Engine::Mysql | Engine::Mariadb => {
            "SELECT LOWER(HEX(CURRENT_USER())), LOWER(HEX(DATABASE())),
                IF(COUNT(*) = 1 AND MAX(schema_name = DATABASE()), 't', 'f'),
                IF(EXISTS (SELECT * FROM information_schema.user_privileges WHERE privilege_type <> 'USAGE'), 't', 'f')
             FROM information_schema.schemata WHERE schema_name NOT IN ('information_schema', 'performance_schema');"
        }
    };
    format!(
        "{who} CREATE TABLE t (n int); INSERT INTO t VALUES (42); SELECT n FROM t; DROP TABLE t;"
    )
}

fn answers(engine: Engine, triple: &Triple) -> String {
    let user = match engine {
        Engine::Postgresql => triple.user.clone(),
        Engine::Mysql | Engine::Mariadb => format!("{}@%", triple.user),
    };
    format!("{} {} t f 42", hex(&user), hex(&triple.database))
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// All of them become users of one server, by the scripts of an instance, in a pod like its own; in the short form
/// every fifth, from the longest on.
async fn hundred(space: &Space, engine: Engine) -> Result<()> {
    pod(space).await?;
    let hundred = triples::hundred(engine).into_iter().rev();
    let triples: Vec<Triple> = hundred.step_by(many(5, 1)).collect();
    let lines: Vec<String> = triples
        .iter()
        .map(
            |Triple {
                 user,
                 database,
                 password,
             }| { format!("{} {} {}\n", hex(user), hex(database), hex(password)) },
        )
        .collect();
    let kubeconfig = format!("--kubeconfig={}", space.cluster.kubeconfig.display());
    let sql = format!("SQL={}", questions(engine));
    let words = [
        &kubeconfig,
        "-n",
        &space.name,
        "exec",
        "-i",
        "client-many",
        "--",
        "env",
        &sql,
        "bash",
        "-c",
        MANY,
    ];
    let said = cluster::run(&space.cluster.kubectl, &words, &lines.concat()).await?;
    let said: Vec<&str> = said.lines().map(str::trim).collect();
    ensure!(
        said.len() == triples.len() + 1,
        "{} answers: {said:#?}",
        said.len()
    );
    let wrong: Vec<_> = triples
        .iter()
        .zip(&said)
        .filter(|(triple, said)| **said != answers(engine, triple))
        .collect();
    ensure!(wrong.is_empty(), "{} went wrong: {wrong:#?}", wrong.len());
    let conflict = said[triples.len()];
    let words = ["password authentication failed", "Access denied"];
    ensure!(
        words.iter().any(|words| conflict.contains(words)),
        "another's password gets in: {conflict}"
    );
    eprintln!(
        "{}: {} users own their databases",
        space.name,
        triples.len()
    );
    Ok(())
}

/// The pod of an instance's StatefulSet with empty volumes instead of its data and credentials, and nothing running
/// yet.
async fn pod(space: &Space) -> Result<()> {
    let template = space
        .field("statefulset/hostile-0", ".spec.template.spec")
        .await?;
    let mut spec: Value = serde_json::from_str(&template)?;
    let mut container = spec["initContainers"][0].take();
    container["command"] = json!(["sleep", "infinity"]);
    spec["containers"] = json!([container]);
    spec["terminationGracePeriodSeconds"] = json!(0);
    spec["hostname"] = json!("hostile-0"); // its scripts work in no other pod
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("initContainers");
    }
    for volume in spec["volumes"].as_array_mut().context("no volumes")? {
        if volume["name"] == "data" || volume["name"] == "credentials" {
            *volume = json!({"name": volume["name"], "emptyDir": {}});
        }
    }
    for mount in spec["containers"][0]["volumeMounts"]
        .as_array_mut()
        .context("no mounts")?
    {
        if mount["name"] == "credentials" {
            mount["readOnly"] = json!(false);
        }
    }
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client-many"}, "spec": spec});
    space.apply(&pod.to_string()).await?;
    let wait = [
        "wait",
        "--for=condition=Ready",
        "--timeout=120s",
        "pod/client-many",
    ];
    space.kubectl(&wait, "").await.map(|_| ())
}
