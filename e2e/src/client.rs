//! The engines' own clients, in a pod of the story's namespace, with nothing but the binding Secret's `uri`.

use anyhow::{Context, Result, bail};
use api::Engine;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Api;
use kube::api::{AttachParams, AttachedProcess, PostParams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Space;
use crate::space::PATIENCE;

/// No answer to a story is longer.
const LONGEST: usize = 1 << 24;

/// A way to ask one database questions.
pub struct Database<'a> {
    space: &'a Space,
    engine: Engine,
    uri: String,
    pod: String,
}

impl<'a> Database<'a> {
    /// Reads the binding of an instance and starts a client pod, if there is none yet.
    pub async fn bound(space: &'a Space, engine: Engine, instance: &str) -> Result<Self> {
        let uri = secret(space, instance, "uri").await?;
        Self::with_uri(space, engine, uri).await
    }

    /// A client for this URI.
    pub async fn with_uri(space: &'a Space, engine: Engine, uri: String) -> Result<Self> {
        let pod = format!("client-{}", engine.name());
        let maps: Api<ConfigMap> =
            Api::namespaced(space.cluster.client.clone(), "minidbaas-system");
        let catalog = maps
            .get(api::names::CATALOG)
            .await?
            .data
            .unwrap_or_default();
        let version = catalog
            .get(&format!("{}.default", engine.name()))
            .context("no default version")?;
        let image = catalog
            .get(&format!("{}.{version}", engine.name()))
            .context("no image")?;
        let object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod},
            "spec": {
                "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 999, "runAsGroup": 999,
                    "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "client", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep",
                        "infinity"],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            },
        });
        let pods: Api<Pod> = Api::namespaced(space.cluster.client.clone(), &space.name);
        match pods
            .create(&PostParams::default(), &serde_json::from_value(object)?)
            .await
        {
            // Several may ask at once.
            Err(kube::Error::Api(refusal)) if refusal.is_already_exists() => {}
            made => made.map(|_| ())?,
        }
        let ready = || async {
            let path = ".status.conditions[?(@.type==\"Ready\")].status";
            Ok(space.field(&format!("pod/{pod}"), path).await? == "True")
        };
        space.until("the client's pod is ready", ready).await?;
        Ok(Database {
            space,
            engine,
            uri,
            pod,
        })
    }

    /// The same client with another password.
    pub fn with_password(&self, password: &str) -> Database<'a> {
        let (before, rest) = self.uri.split_once("://").unwrap_or_default();
        let (user_info, host) = rest.split_once('@').unwrap_or_default();
        let user = user_info.split(':').next().unwrap_or_default();
        let uri = format!("{before}://{user}:{}@{host}", encoded(password));
        Database {
            space: self.space,
            engine: self.engine,
            uri,
            pod: self.pod.clone(),
        }
    }

    /// Waits out a crash of the node, with which the client's pod has crashed too; its status may be of before the
    /// crash.
    pub async fn works_again(&self) -> Result<()> {
        self.space
            .until("the client works again", || async {
                Ok(self.sql("SELECT 1").await.is_ok())
            })
            .await
    }

    /// Waits until the Service leads to the server: nodes follow the pod's readiness within about a second.
    pub async fn reached(&self) -> Result<()> {
        self.space
            .until("the Service leads to the server", || async {
                let answer = self.sql("SELECT 1").await;
                let refused = |error: &anyhow::Error| {
                    let said = format!("{error:#}");
                    [
                        "refused",
                        "timeout expired",
                        "No route to host",
                        "Can't connect",
                    ]
                    .iter()
                    .any(|words| said.contains(words))
                };
                match answer {
                    Err(error) if refused(&error) => Ok(false),
                    answer => answer.map(|_| true),
                }
            })
            .await
    }

    /// The answer to SQL that the client in the pod asks again and again until it gets one.
    pub async fn first_answer(&self, sql: &str) -> Result<String> {
        let again = |client: &str| {
            format!("until echo '{sql}' | {client} 2>/dev/null; do sleep 0.02; done")
        };
        let asked = async { answer(self.run(again, "").await?).await };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .with_context(|| format!("no answer within {PATIENCE:?}"))?
    }

    /// The engine.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Runs SQL; rows as lines, columns separated by tabs. An error of the engine is an error with its message.
    pub async fn sql(&self, sql: &str) -> Result<String> {
        answer(self.run(str::to_owned, &format!("{sql}\n")).await?).await
    }

    /// Starts what `shape` makes of the client, a shell command, in the client's pod, and gives it its input. What must
    /// not be in an argument list comes first of it.
    pub(crate) async fn run(
        &self,
        shape: impl FnOnce(&str) -> String,
        input: &str,
    ) -> Result<AttachedProcess> {
        let (command, head) = self.invocation(shape)?;
        let pods: Api<Pod> = Api::namespaced(self.space.cluster.client.clone(), &self.space.name);
        let streams = AttachParams::default().stdin(true);
        let streams = streams.max_stdin_buf_size(LONGEST);
        let streams = streams
            .max_stdout_buf_size(LONGEST)
            .max_stderr_buf_size(LONGEST);
        let command = ["bash", "-c", &command];
        let mut process = pods.exec(&self.pod, command, &streams).await?;
        let mut stdin = process.stdin().context("no standard input")?;
        stdin.write_all(format!("{head}{input}").as_bytes()).await?;
        stdin.shutdown().await?;
        Ok(process)
    }

    /// The command for what `shape` makes of the client, and what standard input has to begin with.
    fn invocation(&self, shape: impl FnOnce(&str) -> String) -> Result<(String, String)> {
        Ok(match self.engine {
            Engine::Postgresql => {
                let client = shape("stdbuf -oL psql \"$uri\" -XqAt -F '\t' -v ON_ERROR_STOP=1");
                (
                    format!("read -r uri; export PGCONNECT_TIMEOUT=10; {client}"),
                    format!("{}\n", self.uri),
                )
            }
            Engine::Mysql | Engine::Mariadb => {
                let client = if self.engine == Engine::Mysql {
                    "mysql"
                } else {
                    "mariadb"
                };
                let options = self.options()?;
                let client = shape(&format!(
                    "{client} --defaults-extra-file=$f --batch --skip-column-names --unbuffered"
                ));
                let command = format!(
                    "IFS= read -r n; f=$(mktemp); while [ $n -gt 0 ]; do IFS= read -r l; printf '%s\\n' \"$l\" >>$f; \
                        n=$((n-1)); done; \
                     {client}; s=$?; rm $f; exit $s"
                );
                (command, format!("{}\n{options}", options.lines().count()))
            }
        })
    }

    /// An option file with the parts of the URI, decoded: these clients take no URI.
    fn options(&self) -> Result<String> {
        let (_, rest) = self.uri.split_once("://").context("no scheme")?;
        let (user_info, rest) = rest.split_once('@').context("no user")?;
        let (user, password) = user_info.split_once(':').context("no password")?;
        let (address, database) = rest.split_once('/').context("no database")?;
        let (host, port) = address.split_once(':').context("no port")?;
        let quoted = |text: &str| -> Result<String> {
            Ok(format!(
                "\"{}\"",
                decoded(text)?.replace('\\', "\\\\").replace('"', "\\\"")
            ))
        };
        let tls = if self.engine == Engine::Mariadb {
            "disable-ssl-verify-server-cert\n"
        } else {
            ""
        };
        Ok(format!(
            "[client]\nhost={host}\nport={port}\nprotocol=tcp\nconnect-timeout=10\ndefault-character-set=utf8mb4\n\
            user={}\npassword={}\n{tls}[mysql]\ndatabase={}\n",
            quoted(user)?,
            quoted(password)?,
            quoted(database)?
        ))
    }
}

/// What a client said until its end, without the last line break; an exit code that is not 0 is an error with what it
/// complained of.
async fn answer(mut process: AttachedProcess) -> Result<String> {
    let mut stdout = process.stdout().context("no standard output")?;
    let mut stderr = process.stderr().context("no standard error")?;
    let status = process.take_status().context("no status")?;
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    tokio::try_join!(
        stdout.read_to_end(&mut said),
        stderr.read_to_end(&mut complained)
    )?;
    let ended = status.await.context("the client's end was not told")?;
    if ended.status.as_deref() != Some("Success") {
        let complained = String::from_utf8_lossy(&complained);
        bail!(
            "{} {}",
            complained.trim(),
            ended.message.unwrap_or_default()
        );
    }
    let said = String::from_utf8_lossy(&said);
    Ok(said.trim_end_matches('\n').to_owned())
}

/// A key of a Secret.
pub async fn secret(space: &Space, name: &str, key: &str) -> Result<String> {
    let secrets: Api<Secret> = Api::namespaced(space.cluster.client.clone(), &space.name);
    let data = secrets.get(name).await?.data.unwrap_or_default();
    let value = data
        .get(key)
        .with_context(|| format!("the Secret {name} has no key {key}"))?;
    Ok(String::from_utf8(value.0.clone())?)
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2).context("an unfinished escape")?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits)?, 16)?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Ok(String::from_utf8(bytes)?)
}
