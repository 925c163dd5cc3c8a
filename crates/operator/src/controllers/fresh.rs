//! Random values, which no pure code may make.

use plan::generated::Generated;

use crate::error::Error;

/// Fresh random values from the operating system.
pub fn fresh() -> Result<Generated, Error> {
    let mut id = [0_u8; 4];
    getrandom::fill(&mut id)?;
    let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Generated {
        password: password()?,
        admin_password: password()?,
        id,
    })
}

/// 32 letters and digits, each equally likely.
fn password() -> Result<String, getrandom::Error> {
    const CHARACTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut password = String::with_capacity(32);
    while password.len() < 32 {
        let mut bytes = [0_u8; 48];
        getrandom::fill(&mut bytes)?;
        // 248 is the greatest multiple of 62: a byte beyond it would favour the first characters.
        let chosen = bytes
            .iter()
            .filter(|byte| **byte < 248)
            .map(|byte| char::from(CHARACTERS[usize::from(byte % 62)]));
        password.extend(chosen.take(32 - password.len()));
    }
    Ok(password)
}
