//! Who attacks: a user with nothing but our four kinds in one namespace, and an administrator of two namespaces. Both
//! are real to the API server: the requests are made in their names.

use anyhow::{Result, bail, ensure};
use e2e::Space;
use e2e::cluster::output;
use serde_json::{Value, json};

const OURS: [&str; 4] = [
    "databaseinstances",
    "databasebackups",
    "databaserestores",
    "haclusters",
];

/// Somebody at work in a namespace.
pub struct Person<'a> {
    pub space: &'a Space,
    name: &'static str,
}

/// The user.
pub fn user(space: &Space) -> Person<'_> {
    let name = "tenants:user";
    Person { space, name }
}

/// The administrator of namespaces.
pub fn admin(space: &Space) -> Person<'_> {
    let name = "tenants:admin";
    Person { space, name }
}

/// Nothing of it has cluster scope: it goes with the namespaces.
pub async fn grant(home: &Space, two: &Space) -> Result<()> {
    let verbs = [
        "get", "list", "watch", "create", "update", "patch", "delete",
    ];
    let ours = json!([{"apiGroups": ["minidbaas.dev"], "resources": OURS, "verbs": verbs}]);
    bind(home, "tenants-user", user(home).name, Some(ours)).await?;
    let status = OURS.map(|kind| format!("{kind}/status"));
    let all = json!([
        {"apiGroups": ["minidbaas.dev"],
            "resources": OURS.iter().map(|kind| (*kind).to_owned()).chain(status).collect::<Vec<_>>(), "verbs": ["*"]},
        {"apiGroups": ["snapshot.storage.k8s.io"], "resources": ["volumesnapshots", "volumesnapshots/status"],
            "verbs": ["*"]},
    ]);
    for space in [home, two] {
        bind(space, "tenants-admin", admin(space).name, Some(all.clone())).await?;
        bind(space, "admin", admin(space).name, None).await?;
    }
    Ok(())
}

/// Binds a user to a Role with these rules, or to a ClusterRole that is there.
async fn bind(space: &Space, role: &str, who: &str, rules: Option<Value>) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    let kind = match rules {
        Some(_) => "Role",
        None => "ClusterRole",
    };
    let binding = json!({
        "apiVersion": version, "kind": "RoleBinding", "metadata": {"name": role},
        "roleRef": {"apiGroup": group, "kind": kind, "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": who}],
    });
    let role = rules.map(|rules| {
        json!({"apiVersion": version, "kind": "Role", "metadata": {"name": role},
        "rules": rules})
    });
    let items: Vec<Value> = role.into_iter().chain([binding]).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    space.apply(&list.to_string()).await.map(|_| ())
}

/// They have no more rights than the attacks are said to take.
pub async fn rights(home: &Space, victim: &Space) -> Result<()> {
    let status = [
        "patch",
        "dbinstance",
        "shop",
        "--subresource=status",
        "--type=merge",
        "--patch={}",
    ];
    for words in [
        &["get", "secrets"][..],
        &["get", "pvc"],
        &["get", "pods"],
        &status,
    ] {
        forbidden(&user(home), words).await?;
    }
    for words in [
        &["get", "volumesnapshotcontents"][..],
        &["get", "crds"],
        &["get", "pv"],
    ] {
        forbidden(&admin(home), words).await?;
    }
    forbidden(&admin(victim), &["get", "dbbackups"]).await?;
    user(home).kubectl(&["get", "dbbackups"], "").await?;
    admin(home)
        .kubectl(&["get", "secrets,volumesnapshots"], "")
        .await
        .map(|_| ())
}

async fn forbidden(person: &Person<'_>, words: &[&str]) -> Result<()> {
    let Err(error) = person.kubectl(words, "").await else {
        bail!("{} may `kubectl {}`", person.name, words.join(" "));
    };
    let said = format!("{error:#}");
    ensure!(said.contains("orbidden"), "{}: {said}", person.name);
    Ok(())
}

impl Person<'_> {
    /// kubectl in the person's name.
    pub async fn kubectl(&self, words: &[&str], input: &str) -> Result<String> {
        let whose = format!("--as={}", self.name);
        let all: Vec<&str> = [whose.as_str()]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        self.space.kubectl(&all, input).await
    }

    /// Applies an object.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        let words = ["apply", "-f", "-"];
        self.kubectl(&words, &object.to_string()).await.map(|_| ())
    }

    /// Applies an instance with this spec.
    pub async fn apply_instance(&self, name: &str, spec: Value) -> Result<()> {
        self.apply(&ours("DatabaseInstance", name, spec)).await
    }

    /// Asks for a deletion and does not wait for its end.
    pub async fn delete(&self, object: &str) -> Result<()> {
        let words = ["delete", object, "--wait=false"];
        self.kubectl(&words, "").await.map(|_| ())
    }

    /// Merges a change into an object.
    pub async fn patch(&self, object: &str, change: Value) -> Result<()> {
        let change = format!("--patch={change}");
        let words = ["patch", object, "--type=merge", &change];
        self.kubectl(&words, "").await.map(|_| ())
    }

    /// Merges a change into an object's status.
    pub async fn forge(&self, object: &str, status: &Value) -> Result<()> {
        let change = format!("--patch={}", json!({"status": status}));
        let status = "--subresource=status";
        let words = ["patch", object, status, "--type=merge", &change];
        self.kubectl(&words, "").await.map(|_| ())
    }

    /// The names of those objects that would be admitted; nothing is made.
    pub async fn admitted(&self, items: Vec<Value>) -> Result<Vec<String>> {
        let (whose, count) = (format!("--as={}", self.name), items.len());
        let kubeconfig = format!("--kubeconfig={}", self.space.cluster.kubeconfig.display());
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let words = [
            &kubeconfig,
            &whose,
            "-n",
            &self.space.name,
            "create",
            "--dry-run=server",
            "-o=jsonpath={.metadata.name}{\"\\n\"}",
            "-f",
            "-",
        ];
        let said = output(&self.space.cluster.kubectl, &words, &list.to_string()).await?;
        let errors = String::from_utf8_lossy(&said.stderr);
        let admitted: Vec<String> = String::from_utf8_lossy(&said.stdout)
            .lines()
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        // One that was neither admitted nor refused tells nothing.
        let refused = errors
            .lines()
            .filter(|line| line.contains("rror from server") || line.contains("is invalid"))
            .count();
        ensure!(
            admitted.len() + refused == count,
            "of {count}, {} were admitted and {refused} refused: {errors:.2000}",
            admitted.len()
        );
        Ok(admitted)
    }
}

/// An object of one of our kinds.
pub fn ours(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}
