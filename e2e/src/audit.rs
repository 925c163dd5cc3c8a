//! The API server's audit log: who did what to which object, and when.

use std::fs;
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use crate::Cluster;

/// One request, as far as stories look at it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// get, list, watch, create, update, patch, delete, ...
    pub verb: String,
    /// Who asked.
    pub user: User,
    /// What was asked for.
    #[serde(default)]
    pub object_ref: ObjectRef,
    /// What came of it.
    #[serde(default)]
    pub response_status: ResponseStatus,
    /// When it came in, RFC 3339.
    pub request_received_timestamp: String,
    /// When this line was written, RFC 3339.
    pub stage_timestamp: String,
}

/// Who asked.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// The user's name, system:serviceaccount:NAMESPACE:NAME for pods.
    pub username: String,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ObjectRef {
    /// Plural.
    #[serde(default)]
    pub resource: String,
    /// Such as status.
    #[serde(default)]
    pub subresource: String,
    /// Namespace.
    #[serde(default)]
    pub namespace: String,
    /// Name; empty for lists and some creations.
    #[serde(default)]
    pub name: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ResponseStatus {
    /// HTTP status code.
    #[serde(default)]
    pub code: u16,
}

/// The operator's user.
pub const OPERATOR: &str = "system:serviceaccount:minidbaas-system:minidbaas";

impl Request {
    /// Whether this operator asked for a change of anything but its Lease.
    pub fn is_write_of(&self, operator: &str) -> bool {
        self.user.username == operator
            && !matches!(self.verb.as_str(), "get" | "list" | "watch")
            && self.object_ref.resource != "leases"
    }

    /// Whether it was about something in this namespace.
    pub fn is_in(&self, namespace: &str) -> bool {
        self.object_ref.namespace == namespace
    }

    /// Whether it made an object that was not there.
    pub fn created(&self) -> bool {
        self.response_status.code == 201 && self.object_ref.subresource.is_empty()
    }

    /// When it came in.
    pub fn received(&self) -> Result<Timestamp> {
        self.request_received_timestamp
            .parse()
            .context("requestReceivedTimestamp")
    }

    /// When it was answered.
    pub fn answered(&self) -> Result<Timestamp> {
        self.stage_timestamp.parse().context("stageTimestamp")
    }
}

/// A place in the log, from which a story reads on.
pub struct Mark(u64);

impl Cluster {
    fn audit_log(&self) -> std::path::PathBuf {
        self.state().join("log/audit.log")
    }

    /// The end of the log as it is now.
    pub fn mark(&self) -> Result<Mark> {
        Ok(Mark(fs::metadata(self.audit_log())?.len()))
    }

    /// The operator's writes since the mark, but for its Lease.
    pub fn operator_writes_since(&self, mark: &Mark) -> Result<Vec<Request>> {
        self.writes_since(mark, OPERATOR)
    }

    /// Such writes of the operator that is this user.
    pub fn writes_since(&self, mark: &Mark, operator: &str) -> Result<Vec<Request>> {
        let mut requests = self.requests_since(mark)?;
        requests.retain(|request| request.is_write_of(operator));
        Ok(requests)
    }

    /// The log's own text since the mark.
    pub fn audit_text_since(&self, mark: &Mark) -> Result<String> {
        let mut file = fs::File::open(self.audit_log())?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text)
    }

    /// All requests since the mark.
    pub fn requests_since(&self, mark: &Mark) -> Result<Vec<Request>> {
        let text = self.audit_text_since(mark)?;
        // The last line may be written just now.
        Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }
}
