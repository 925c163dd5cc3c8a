# The tasks people repeat. CI calls these and nothing else.
cluster := e2e/cluster/cluster
say := printf '\n== %s\n'

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a database in a minute: on kind if it is there, else on a cluster of its own (as root); CONTEXT=name for an existing one
	@e2e/demo $(if $(CONTEXT),--context $(CONTEXT) --image $(IMAGE))

test: ## everything that must hold: format, lints, unit tests, and the stories on a real cluster (as root)
	@$(say) "1/5 format and lints"
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	@$(say) "2/5 rules, generated files, effects"
	cargo test --workspace --exclude e2e
	@$(say) "3/5 a real cluster with the operator of this tree"
	$(MAKE) cluster
	@$(say) "4/5 stories side by side"
	cargo test -p e2e --test stories
	@$(say) "5/5 stories that crash the node and kill the operator, one after another"
	cargo test -p e2e --test faults -- --test-threads=1

test-soak: cluster ## the long forms of stories: backups and restores twenty times, failovers ten times, five idle minutes
	E2E_BACKUP_CYCLES=20 cargo test -p e2e --test stories backups:: -- --nocapture
	E2E_FAILOVERS=10 cargo test -p e2e --test stories ha_failover -- --nocapture
	E2E_IDLE_MINUTES=5 cargo test -p e2e --test faults idle -- --test-threads=1 --nocapture

generate: ## write the CRDs and the engine catalog anew from the code
	cargo build -p minidbaas
	for crd in databaseinstances databasebackups databaserestores haclusters; do cargo run -q -p minidbaas -- crd $$crd >crds/$$crd.yaml || exit; done
	cargo run -q -p minidbaas -- catalog >deploy/base/catalog.yaml

cluster: ## a real cluster on this machine with the operator of this tree (as root)
	@$(cluster) up
	@e2e/cluster/deploy-operator

kubeconfig: ## print the path of its kubeconfig
	@$(cluster) kubeconfig

cluster-down: ## end it, and delete its state
	@$(cluster) down --purge


.PHONY: help demo test test-soak generate cluster kubeconfig cluster-down
