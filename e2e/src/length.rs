//! How much of itself a story tells: `make test` has one real proof of each behaviour, `make test-soak` the long form.

use api::Engine;

/// How often something is done; the second number is that of the long form, for which `E2E_LONG` is set.
pub fn many(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

/// The engines on which something is shown that they have in common; in the long form all of them.
pub fn engines(short: &[Engine]) -> Vec<Engine> {
    match is_long() {
        true => Engine::ALL.to_vec(),
        false => short.to_vec(),
    }
}

fn is_long() -> bool {
    std::env::var_os("E2E_LONG").is_some()
}
