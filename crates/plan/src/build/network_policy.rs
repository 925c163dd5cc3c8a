//! The NetworkPolicy: who may connect to the server's pod. It needs no way out, so it gets none.

use api::instance::ServiceType;
use api::names::{COMPONENT_CHECK, COMPONENT_DATABASE, LABEL_COMPONENT, selector};
use serde_json::{Value, json};

use crate::valid::Subject;
use crate::{Kind, Object};

/// Ingress on the engine's port from the namespace and spec.network.allowFrom. A Service that is exposed outside the
/// cluster is reached from addresses that belong to no pod, so then the port is open to all.
pub fn network_policy(subject: &Subject<'_>) -> Object {
    let spec = &subject.cr.spec;
    let outside = spec
        .service
        .as_ref()
        .is_some_and(|service| service.type_ != ServiceType::ClusterIP);
    let mut from: Vec<Value> = vec![json!({"podSelector": {}})];
    for peer in spec.network.iter().flat_map(|network| &network.allow_from) {
        from.push(json!(peer));
    }
    // What proves a backup is nobody else's.
    if subject.verifies() {
        let mut labels = selector(subject.name);
        labels.insert(LABEL_COMPONENT.to_owned(), COMPONENT_CHECK.to_owned());
        from = vec![json!({"podSelector": {"matchLabels": labels}})];
    }
    if outside && !subject.verifies() {
        from.push(json!({"ipBlock": {"cidr": "0.0.0.0/0"}}));
        from.push(json!({"ipBlock": {"cidr": "::/0"}}));
    }
    subject.owned(
        Kind::NetworkPolicy,
        subject.name,
        COMPONENT_DATABASE,
        json!({"spec": {
            "podSelector": {"matchLabels": selector(subject.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": from, "ports": [{"port": "database", "protocol": "TCP"}]}],
            "egress": [],
        }}),
    )
}
