//! `DatabaseRestore`: what brings a pass, and what a pass reads. The rules are in `plan::restore`.

use std::sync::Arc;

use api::names::admin_secret;
use api::{DatabaseBackup, DatabaseInstance, DatabaseRestore, DatabaseRestoreStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use plan::failing::Ready;
use plan::origin::Source;
use plan::reading::restore::is_finished;
use plan::restore::{self, Observed};
use plan::storage_class::StorageClass;
use plan::{Kind, Plan};

use super::origin::source;
use super::reader::{Reader, catalog, class};
use crate::context::Context;
use crate::error::Error;
use crate::pass::Reconciled;
use crate::pruned::pages;

/// Runs until the stop signal.
pub async fn run(
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let controller = super::controller(&context, concurrency, false);
    let (into, from) = (controller.store(), controller.store());
    let controller = controller
        .watches(
            context.watched::<PartialObjectMeta<DatabaseInstance>>(),
            pages(),
            move |instance| {
                super::those(&into, |cr| {
                    !is_finished(cr)
                        && cr.spec.instance == instance.name_any()
                        && cr.namespace() == instance.namespace()
                })
            },
        )
        .watches(
            context.watched::<PartialObjectMeta<DatabaseBackup>>(),
            pages(),
            move |backup| {
                let (name, namespace) = (backup.name_any(), backup.namespace());
                super::those(&from, |cr| {
                    let own = cr.metadata.namespace.as_deref();
                    let from = &cr.spec.backup;
                    !is_finished(cr) && from.means(own, &name, namespace.as_deref())
                })
            },
        )
        .graceful_shutdown_on(stop);
    super::drive(controller, context).await;
}

impl Reconciled for DatabaseRestore {
    type Observed = Observed;

    fn ready(&self) -> Ready {
        match is_finished(self) {
            true => Ready::OnRecord,
            false => Ready::OfNow,
        }
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let namespace = self.namespace().unwrap_or_default();
        let name = self.spec.instance.as_str();
        let reader = Reader {
            context,
            namespace: &namespace,
        };
        let (catalog, instance) =
            futures::try_join!(catalog(context), reader.get::<DatabaseInstance>(name))?;
        let mut observed = Observed {
            catalog,
            source: Source::Unavailable,
            instance,
            retained: None,
            storage_class: StorageClass::Unread,
        };
        if restore::needs_backup(self) {
            observed.source = source(context, &namespace, &self.spec.backup).await?;
            let named = restore::class_name(self, &observed.source);
            observed.storage_class = class(context, named).await?;
            observed.retained = retained(&reader, name).await?;
        }
        Ok(observed)
    }

    fn decide(&self, observed: &Observed, now: &Time) -> Plan<DatabaseRestoreStatus> {
        restore::decide(self, observed, now)
    }

    fn failed(
        &self,
        planned: &DatabaseRestoreStatus,
        error: &str,
        now: &Time,
    ) -> DatabaseRestoreStatus {
        restore::failed(self, planned, error, now)
    }
}

/// What a former instance of this name left behind.
async fn retained(reader: &Reader<'_>, name: &str) -> Result<Option<(Kind, ObjectMeta)>, Error> {
    let admin = admin_secret(name);
    let (claim, binding, admin) = futures::try_join!(
        reader.metadata::<PersistentVolumeClaim>(name),
        reader.metadata::<Secret>(name),
        reader.metadata::<Secret>(&admin),
    )?;
    let claim = claim.map(|claim| (Kind::PersistentVolumeClaim, claim));
    let secret = binding.or(admin);
    Ok(claim.or(secret.map(|secret| (Kind::Secret, secret))))
}
