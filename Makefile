# The tasks people repeat. CI calls these and nothing else.
cluster := e2e/cluster/cluster

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a database in a minute: on kind if it is there, else on a cluster of its own (as root); CONTEXT=name for an existing one
	@e2e/demo $(if $(CONTEXT),--context $(CONTEXT) --image $(IMAGE))

test: ## format, lints, unit tests, and the stories on a real cluster (as root)
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --exclude e2e
	$(MAKE) cluster
	cargo test -p e2e

generate: ## write the CRDs and the engine catalog anew from the code
	cargo build -p minidbaas
	cargo run -q -p minidbaas -- crd >crds/databaseinstances.yaml
	cargo run -q -p minidbaas -- catalog >deploy/base/catalog.yaml

cluster: ## a real cluster on this machine with the operator of this tree (as root)
	@$(cluster) up
	@e2e/cluster/deploy-operator

kubeconfig: ## print the path of its kubeconfig
	@$(cluster) kubeconfig

cluster-down: ## end it, and delete its state
	@$(cluster) down --purge

.PHONY: help demo test generate cluster kubeconfig cluster-down
