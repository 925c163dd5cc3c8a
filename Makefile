# The tasks people repeat. CI calls these and nothing else.
cluster := e2e/cluster/cluster
nextest := e2e/nextest
program := $(or $(CARGO_TARGET_DIR),target)/debug/minidbaas
say := printf '\n== %s\n'

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a database in a minute: on kind if it is there, else on a cluster of its own (as root); CONTEXT=name for an existing one
	@e2e/demo $(if $(CONTEXT),--context $(CONTEXT) --image $(IMAGE))

check: ## what needs neither root nor a cluster: format, lints, rules, effects, generated files, scripts, pages
	@$(say) "format and lints"
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	@tools/lint
	@tools/deny
	@$(say) "rules, generated files, effects, pages"
	$(nextest) run --workspace -E 'not package(e2e)'

test: check cluster ## what must hold at every landing: check, and one real proof of each behaviour on a real cluster (as root)
	@$(say) "core stories"
	@e2e/stories core

test-all: check cluster ## everything (as root)
	@$(say) "all stories"
	@e2e/stories all

test-soak: export E2E_LONG := 1
test-soak: cluster ## the long forms of stories: backups and restores twenty times, failovers ten times, all engines, five idle minutes
	@e2e/stories soak --no-capture -E 'binary(stories) & not test(figures)'
	@e2e/stories soak --no-capture -E 'test(figures) | test(/^idle::/)'

generate: ## write the CRDs, the engine catalog and the page of all fields anew from the code
	cargo build --workspace # of one package alone, dependencies would be built anew with other features
	for crd in databaseinstances databasebackups databaserestores haclusters; do $(program) crd $$crd >crds/$$crd.yaml || exit; done
	$(program) catalog >deploy/base/catalog.yaml
	$(program) reference >docs/reference.md

cluster: ## a real cluster on this machine with the operator of this tree, as the tests compile it (as root)
	@$(cluster) up
	@e2e/cluster/deploy-operator --tests

kubeconfig: ## print the path of its kubeconfig
	@$(cluster) kubeconfig

cluster-down: ## end it, and delete its state
	@$(cluster) down --purge


.PHONY: help demo check test test-all test-soak generate cluster kubeconfig cluster-down
