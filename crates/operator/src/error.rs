//! The one error of a pass: which call failed, on what, and why.

use std::borrow::Cow;

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused a call, or could not be reached.
    #[error("{verb} {kind} {name}: {source}")]
    Api {
        /// What was to be done.
        verb: &'static str,
        /// Kind of the object.
        kind: Cow<'static, str>,
        /// Its name.
        name: String,
        /// What the client says.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("{verb} {kind} {name}: no answer within {seconds} s")]
    Timeout {
        /// What was to be done.
        verb: &'static str,
        /// Kind of the object.
        kind: Cow<'static, str>,
        /// Its name.
        name: String,
        /// How long the call was given.
        seconds: u64,
    },
    /// There are more objects than can be meant.
    #[error(
        "list {kind} {what}: there are {count} or more, of {bytes} bytes together, and hardly one of them was made for \
            this resource"
    )]
    TooMany {
        /// Kind of the objects.
        kind: Cow<'static, str>,
        /// By what they were looked for.
        what: String,
        /// How many were read.
        count: usize,
        /// How large these are.
        bytes: usize,
    },
    /// The resource that the pass was made for is gone, or another one has its name.
    #[error("{kind} {name} is not the one any more that this was for")]
    Replaced {
        /// Its kind.
        kind: Cow<'static, str>,
        /// Its name.
        name: String,
    },
    /// The operating system has no random bytes to give.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

impl Error {
    /// Whether the object changed or vanished in between, so that the next pass sees something else.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Replaced { .. }) || matches!(self.code(), Some(404 | 409))
    }

    /// Whether the operator may not do this.
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// Whether the cluster does not have this API, or the object is not there.
    pub fn is_missing(&self) -> bool {
        self.code() == Some(404)
    }

    /// What was tried, on what, and the server's own words, as far as a person reads on.
    pub fn words(&self) -> String {
        let said = match self {
            Error::Api {
                verb,
                kind,
                name,
                source,
            } => match &**source {
                kube::Error::Api(status) if !status.message.is_empty() => {
                    format!("{verb} {kind} {name}: {}", status.message)
                }
                source => format!("{verb} {kind} {name}: {source}"),
            },
            Error::Timeout { .. }
            | Error::TooMany { .. }
            | Error::Replaced { .. }
            | Error::Random(_) => self.to_string(),
        };
        shorten(said.trim_end_matches('.'))
    }

    fn code(&self) -> Option<u16> {
        match self {
            Error::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Error::Timeout { .. }
            | Error::TooMany { .. }
            | Error::Replaced { .. }
            | Error::Random(_) => None,
        }
    }

    /// Whether the API server understood the write and refused it: something a person should read.
    pub fn is_refusal(&self) -> bool {
        matches!(self.code(), Some(400 | 403 | 405 | 422))
    }
}

/// Who speaks at length says what it is about at the beginning, and often why at the end.
fn shorten(text: &str) -> String {
    const HALF: usize = 200;
    let length = text.chars().count();
    if length <= 2 * HALF {
        return text.to_owned();
    }
    let begin: String = text.chars().take(HALF).collect();
    let end: String = text.chars().skip(length - HALF).collect();
    format!("{begin} … {end}")
}
