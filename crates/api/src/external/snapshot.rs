//! `snapshot.storage.k8s.io/v1`, the slices that are read. What is written is in crate `plan`.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Serialize};

use super::resource;

/// The API group.
pub const GROUP: &str = "snapshot.storage.k8s.io";

/// A request for a snapshot of a volume claim.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct VolumeSnapshot {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is asked for.
    #[serde(default)]
    pub spec: VolumeSnapshotSpec,
    /// What there is.
    #[serde(default)]
    pub status: Option<VolumeSnapshotStatus>,
}
resource!(
    VolumeSnapshot,
    GROUP,
    "VolumeSnapshot",
    "volumesnapshots",
    k8s_openapi::NamespaceResourceScope
);

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotSpec {
    /// The volume claim, or a content that is there already.
    #[serde(default)]
    pub source: VolumeSnapshotSource,
    /// Name of the class.
    #[serde(default)]
    pub volume_snapshot_class_name: Option<String>,
}

/// What a snapshot is of.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotSource {
    /// Name of a volume claim in the same namespace.
    #[serde(default)]
    pub persistent_volume_claim_name: Option<String>,
    /// Name of a VolumeSnapshotContent.
    #[serde(default)]
    pub volume_snapshot_content_name: Option<String>,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotStatus {
    /// Name of the content that the snapshot is bound to.
    #[serde(default)]
    pub bound_volume_snapshot_content_name: Option<String>,
    /// When the snapshot was cut.
    #[serde(default)]
    pub creation_time: Option<Time>,
    /// Whether a volume can be made from it.
    #[serde(default)]
    pub ready_to_use: Option<bool>,
    /// The least size of such a volume.
    #[serde(default)]
    pub restore_size: Option<Quantity>,
    /// The last error; the driver tries again.
    #[serde(default)]
    pub error: Option<VolumeSnapshotError>,
}

/// An error of the driver.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct VolumeSnapshotError {
    /// What the driver says.
    #[serde(default)]
    pub message: Option<String>,
    /// When.
    #[serde(default)]
    pub time: Option<Time>,
}

/// The snapshot itself, as the storage knows it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct VolumeSnapshotContent {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Where it comes from and whose it is.
    #[serde(default)]
    pub spec: VolumeSnapshotContentSpec,
    /// What there is.
    #[serde(default)]
    pub status: Option<VolumeSnapshotContentStatus>,
}
resource!(
    VolumeSnapshotContent,
    GROUP,
    "VolumeSnapshotContent",
    "volumesnapshotcontents",
    k8s_openapi::ClusterResourceScope
);

/// Where a content comes from and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotContentSpec {
    /// The CSI driver.
    #[serde(default)]
    pub driver: String,
    /// Delete or Retain.
    #[serde(default)]
    pub deletion_policy: String,
    /// The VolumeSnapshot that it belongs to. A content has no namespace, so only who may write such objects can say
    /// this.
    #[serde(default)]
    pub volume_snapshot_ref: ObjectReference,
    /// Block or Filesystem; the provisioner makes no volume of another mode from it.
    #[serde(default)]
    pub source_volume_mode: Option<String>,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotContentStatus {
    /// The driver's name for the snapshot.
    #[serde(default)]
    pub snapshot_handle: Option<String>,
}

/// A way to make snapshots.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotClass {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The CSI driver.
    #[serde(default)]
    pub driver: String,
    /// Delete or Retain.
    #[serde(default)]
    pub deletion_policy: String,
}
resource!(
    VolumeSnapshotClass,
    GROUP,
    "VolumeSnapshotClass",
    "volumesnapshotclasses",
    k8s_openapi::ClusterResourceScope
);
