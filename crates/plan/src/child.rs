//! Whose an object is. The only place that tells: a name proves nothing, a finalizer of the resource proves nothing,
//! and labels alone say only that an object was made for some resource of this name.
//!
//! What is deleted with the resource is *controlled* by it: an owner reference with its UID. What is kept (data and
//! passwords) has no owner, so it is *accepted*: it bears the UID of the resource that it was made for, or whose spec
//! was found to fit it.

use api::names::{
    ANNOTATION_ACCEPTED_BY, LABEL_HA_CLUSTER, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY,
};
use api::{DatabaseInstance, HACluster};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::difference::change_owners;
use crate::facts::{annotation, label};
use crate::{Kind, Write};

/// A resource of ours, as the owner of what was made for it.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    kind: Kind,
    label: &'static str,
    metadata: &'a ObjectMeta,
}

impl<'a> Owner<'a> {
    /// An instance.
    pub fn instance(cr: &'a DatabaseInstance) -> Self {
        Owner {
            kind: Kind::DatabaseInstance,
            label: LABEL_INSTANCE,
            metadata: &cr.metadata,
        }
    }

    /// A cluster.
    pub fn cluster(cr: &'a HACluster) -> Self {
        Owner {
            kind: Kind::HACluster,
            label: LABEL_HA_CLUSTER,
            metadata: &cr.metadata,
        }
    }

    /// The resource's UID.
    pub fn uid(&self) -> &'a str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Whether an object was made for a resource of this kind and name: this one, or a former namesake.
    pub fn is_namesakes(&self, object: &ObjectMeta) -> bool {
        label(object, LABEL_MANAGED_BY) == Some(MANAGED_BY)
            && label(object, self.label) == self.metadata.name.as_deref()
    }

    /// Whether an object goes with this very resource, and with nothing else.
    pub fn controls(&self, object: &ObjectMeta) -> bool {
        let owners = object.owner_references.as_deref().unwrap_or_default();
        !self.uid().is_empty()
            && !owners.is_empty()
            && owners.iter().all(|owner| owner.uid == self.uid())
    }

    /// Whether an object was made for this very resource, or accepted by it, and nobody else owns it.
    pub fn accepted(&self, object: &ObjectMeta) -> bool {
        let owners = object.owner_references.as_deref().unwrap_or_default();
        self.is_namesakes(object)
            && self.bears_mark(object)
            && owners.iter().all(|owner| owner.uid == self.uid())
    }

    /// Whether an object bears the UID of this resource as the one that accepted it.
    pub fn bears_mark(&self, object: &ObjectMeta) -> bool {
        is_made_for(object, ANNOTATION_ACCEPTED_BY, Some(self.uid()))
    }

    /// Whether an object was made for a resource of this kind and name by a version that marked nothing yet. For which
    /// one, something else has to show.
    pub fn is_unmarked(&self, object: &ObjectMeta) -> bool {
        let owners = object.owner_references.as_deref().unwrap_or_default();
        self.is_namesakes(object)
            && annotation(object, ANNOTATION_ACCEPTED_BY).is_none()
            && owners.iter().all(|owner| owner.uid == self.uid())
    }

    /// Whether an object is no older than this resource.
    pub fn is_no_older(&self, object: &ObjectMeta) -> bool {
        let own = self.metadata.creation_timestamp.as_ref();
        let objects = object.creation_timestamp.as_ref();
        matches!((own, objects), (Some(own), Some(object)) if own.0 <= object.0)
    }

    /// The change by which an object bears it, if it does not.
    pub fn mark(&self, kind: Kind, object: &ObjectMeta) -> Option<Write> {
        let change = json!({"metadata": {"annotations": {ANNOTATION_ACCEPTED_BY: self.uid()}}});
        (!self.bears_mark(object)).then(|| Write::patch(kind, object, change))
    }

    /// The owner references by which Kubernetes deletes an object together with this resource.
    pub fn references(&self) -> Value {
        json!([owner_reference(self.kind, self.metadata)])
    }

    /// The change by which an object that nobody owns goes when this resource goes. Whether that may be is asked
    /// before, of the object as it was observed: if it has changed since, the change is refused and it is asked again.
    pub fn hand_over(&self, kind: Kind, object: &ObjectMeta) -> Option<Write> {
        let owners = object.owner_references.as_deref().unwrap_or_default();
        let is_free = owners.is_empty() && object.deletion_timestamp.is_none();
        let mut write = is_free
            .then(|| change_owners(kind, object, self.references()))
            .flatten()?;
        if let (Write::Patch(change), Some(version)) = (&mut write, &object.resource_version) {
            change.value["metadata"]["resourceVersion"] = json!(version);
        }
        Some(write)
    }

    /// The change by which an object that was handed over stays after all.
    pub fn take_back(&self, kind: Kind, object: &ObjectMeta) -> Option<Write> {
        self.controls(object)
            .then(|| change_owners(kind, object, json!([])))
            .flatten()
    }
}

/// Whether an object is about to be gone by itself: it is being deleted, or it goes with a former resource of this kind
/// and name, whose end Kubernetes follows within seconds.
pub fn is_going(object: &ObjectMeta, kind: Kind, resource: &ObjectMeta) -> bool {
    let mut owners = object.owner_references.iter().flatten();
    object.deletion_timestamp.is_some()
        || owners.any(|owner| {
            owner.kind == kind.api().1
                && Some(&owner.name) == resource.name.as_ref()
                && Some(&owner.uid) != resource.uid.as_ref()
        })
}

/// Whether an object is controlled by the one with this UID. What a label says, anybody may have written.
pub fn is_controlled_by(object: &ObjectMeta, uid: &str) -> bool {
    let mut owners = object.owner_references.iter().flatten();
    !uid.is_empty() && owners.any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// Whether an object says in this annotation that it was made for the resource with this UID. For what has no owner,
/// or not always.
pub fn is_made_for(object: &ObjectMeta, name: &str, uid: Option<&str>) -> bool {
    uid.is_some_and(|uid| !uid.is_empty() && annotation(object, name) == Some(uid))
}

/// The owner reference by which Kubernetes deletes what belongs to this resource of ours together with it.
pub fn owner_reference(kind: Kind, owner: &ObjectMeta) -> Value {
    let (api_version, kind_name, _) = kind.api();
    json!({
        "apiVersion": api_version, "kind": kind_name, "name": owner.name, "uid": owner.uid,
        "controller": true, "blockOwnerDeletion": false,
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::Owner;
    use crate::instance::tests::world::instance;

    fn object(more: Value) -> ObjectMeta {
        let mut all = json!({
            "name": "shop", "uid": "x",
            "labels": {"app.kubernetes.io/managed-by": "minidbaas", "minidbaas.dev/instance": "shop"},
            "annotations": {"minidbaas.dev/accepted-by": "cr-uid"},
        });
        crate::instance::tests::world::merge(&mut all, &more);
        serde_json::from_value(all).unwrap()
    }

    fn owner(uid: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid})
    }

    #[rstest]
    #[case::ours(json!({}), true)]
    #[case::handed_over(json!({"ownerReferences": [owner("cr-uid")]}), true)]
    #[case::without_labels(json!({"labels": null}), false)]
    #[case::of_another_instance(json!({"labels": {"minidbaas.dev/instance": "other"}}), false)]
    #[case::of_another_kind(json!({"labels": {"minidbaas.dev/instance": null, "minidbaas.dev/ha-cluster": "shop"}}),
        false)]
    #[case::of_a_namesake(json!({"annotations": {"minidbaas.dev/accepted-by": "former"}}), false)]
    #[case::accepted_by_nobody(json!({"annotations": null}), false)]
    #[case::owned_by_another(json!({"ownerReferences": [owner("another")]}), false)]
    #[case::owned_by_another_too(json!({"ownerReferences": [owner("cr-uid"), owner("another")]}), false)]
    fn only_what_was_accepted_and_is_nobody_elses(#[case] change: Value, #[case] expected: bool) {
        let cr = instance(api::Engine::Mysql, json!({}));
        let accepted = Owner::instance(&cr).accepted(&object(change));
        assert_eq!(accepted, expected);
    }

    #[test]
    fn without_a_uid_nothing_belongs_to_a_resource() {
        let mut cr = instance(api::Engine::Mysql, json!({}));
        cr.metadata.uid = None;
        let nobodys = object(
            json!({"annotations": {"minidbaas.dev/accepted-by": ""}, "ownerReferences": [owner("")]}),
        );
        let owner = Owner::instance(&cr);
        assert!(!owner.accepted(&nobodys) && !owner.controls(&nobodys));
    }
}
