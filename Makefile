# The tasks people repeat. CI calls these and nothing else.
cluster := e2e/cluster/cluster
cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/minidbaas
# What cargo builds of the registry's crates is the same in every clone.
export CARGO_TARGET_DIR ?= $(cache)/target
times := $(CARGO_TARGET_DIR)/story-times
say := printf '\n== %s\n'

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a database in a minute: on kind if it is there, else on a cluster of its own (as root); CONTEXT=name for an existing one
	@e2e/demo $(if $(CONTEXT),--context $(CONTEXT) --image $(IMAGE))

check: ## what needs neither root nor a cluster: format, lints, rules, effects, generated files, scripts, pages
	@$(say) "1/6 format and lints"
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	@tools/lint
	@tools/deny
	@$(say) "2/6 rules, generated files, effects, pages"
	cargo test --workspace --exclude e2e

test: check ## everything that must hold: the same, and the stories on a real cluster (as root)
	@$(say) "3/6 a real cluster with the operator of this tree"
	$(MAKE) cluster
	@$(say) "4/6 stories side by side"
	@rm -f $(times)
	E2E_TIMES=$(times) cargo test -p e2e --test stories -- --test-threads=7
	@$(say) "5/6 stories that kill an operator of their own"
	E2E_TIMES=$(times) cargo test -p e2e --test killed -- --test-threads=3
	@$(say) "6/6 stories that crash the node or take the operator away, one after another"
	E2E_TIMES=$(times) cargo test -p e2e --test faults -- --test-threads=1
	@$(say) "the slowest ten of all stories"
	@sort -rn $(times) | head -10
	@echo "$$(wc -l <$(times)) passed, 0 failed"

test-soak: export E2E_LONG := 1
test-soak: cluster ## the long forms of stories: backups and restores twenty times, failovers ten times, all engines, five idle minutes
	cargo test -p e2e --test stories -- --test-threads=3 --skip figures --nocapture
	cargo test -p e2e --test stories figures -- --test-threads=1 --nocapture
	cargo test -p e2e --test faults idle -- --test-threads=1 --nocapture

generate: ## write the CRDs, the engine catalog and the page of all fields anew from the code
	cargo build -p minidbaas
	for crd in databaseinstances databasebackups databaserestores haclusters; do cargo run -q -p minidbaas -- crd $$crd >crds/$$crd.yaml || exit; done
	cargo run -q -p minidbaas -- catalog >deploy/base/catalog.yaml
	cargo run -q -p minidbaas -- reference >docs/reference.md

cluster: ## a real cluster on this machine with the operator of this tree (as root)
	@$(cluster) up
	@e2e/cluster/deploy-operator

kubeconfig: ## print the path of its kubeconfig
	@$(cluster) kubeconfig

cluster-down: ## end it, and delete its state
	@$(cluster) down --purge


.PHONY: help demo check test test-soak generate cluster kubeconfig cluster-down
