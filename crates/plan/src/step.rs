//! What every rule returns: what is to be done, what is to be said, and how the resource stands. A decider joins its
//! rules' steps, and `report` makes of the sum what is written and what the user reads.

use std::borrow::Cow;
use std::time::Duration;

use api::condition::PlannedCondition;

use crate::{Cure, Invalid, Write};

/// One rule's part of a pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// What to write, in this order.
    pub writes: Vec<Write>,
    /// Conditions, but for those that `standing` says.
    pub says: Vec<PlannedCondition>,
    /// How the resource stands by this rule.
    pub standing: Standing,
    /// The finalizers that this rule wants to be there.
    pub finalizers: Vec<&'static str>,
    /// When to look again although nothing changed.
    pub requeue: Option<Duration>,
}

/// In which tone a deletion is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It goes its way.
    Quiet,
    /// A person should know.
    Warns,
    /// It does not go on by itself.
    Blocked,
}

/// How a resource stands; the worst of all rules is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Standing {
    /// There is nothing to do.
    #[default]
    AtRest,
    /// Something is under way (the condition Reconciling).
    UnderWay {
        /// A reason of `api::condition::reason`.
        reason: Cow<'static, str>,
        /// What is under way.
        message: String,
    },
    /// It does not go on (the condition Stalled).
    Blocked {
        /// A reason of `api::condition::reason`.
        reason: Cow<'static, str>,
        /// Names the field and the remedy.
        message: String,
    },
}

impl Standing {
    /// Something is under way.
    pub fn under_way(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (reason, message) = (reason.into(), message.into());
        Standing::UnderWay { reason, message }
    }

    /// It does not go on.
    pub fn blocked(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (reason, message) = (reason.into(), message.into());
        Standing::Blocked { reason, message }
    }

    fn rank(&self) -> u8 {
        match self {
            Standing::AtRest => 0,
            Standing::UnderWay { .. } => 1,
            Standing::Blocked { .. } => 2,
        }
    }
}

impl From<&Invalid> for Standing {
    fn from(invalid: &Invalid) -> Self {
        let message = invalid.message.clone();
        match invalid.cure {
            Cure::Wait(_) => Standing::under_way(invalid.reason, message),
            Cure::Spec | Cure::Elsewhere | Cure::Unpause => {
                Standing::blocked(invalid.reason, message)
            }
        }
    }
}

impl Step {
    /// Only words.
    pub fn says(says: impl IntoIterator<Item = PlannedCondition>, standing: Standing) -> Self {
        Step {
            says: says.into_iter().collect(),
            standing,
            ..Step::default()
        }
    }

    /// Only Ready, in this tone.
    pub fn told(ready: PlannedCondition, tone: Tone) -> Self {
        match tone {
            Tone::Quiet => Step::says([ready], Standing::AtRest),
            Tone::Warns => Step::says([ready.warning()], Standing::AtRest),
            Tone::Blocked => {
                let standing = Standing::blocked(ready.reason.clone(), ready.message.clone());
                Step::says([ready], standing)
            }
        }
    }

    /// The same with these writes after those that it has.
    pub fn writing(mut self, writes: impl IntoIterator<Item = Write>) -> Self {
        self.writes.extend(writes);
        self
    }

    /// The same, looked at again after this time at the latest.
    pub fn again(mut self, requeue: Option<Duration>) -> Self {
        self.requeue = [self.requeue, requeue].into_iter().flatten().min();
        self
    }

    /// Both: writes and words in this order, the worse standing (of two that are equal, the first), the sooner look.
    pub fn and(mut self, other: Step) -> Self {
        self.writes.extend(other.writes);
        self.says.extend(other.says);
        self.finalizers.extend(other.finalizers);
        if other.standing.rank() > self.standing.rank() {
            self.standing = other.standing;
        }
        self.again(other.requeue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(standing: Standing, seconds: Option<u64>) -> Step {
        let requeue = seconds.map(Duration::from_secs);
        Step {
            standing,
            requeue,
            ..Step::default()
        }
    }

    #[test]
    fn of_two_steps_the_worse_standing_and_the_sooner_look_count() {
        let moves = || Standing::under_way("Moves", "It moves.");
        let stuck = || Standing::blocked("Stuck", "It is stuck.");
        let joined = step(moves(), None).and(step(stuck(), Some(9)));
        assert_eq!(
            (joined.standing, joined.requeue.map(|r| r.as_secs())),
            (stuck(), Some(9))
        );
        let joined = step(stuck(), Some(3)).and(step(moves(), Some(9)));
        assert_eq!(
            (joined.standing, joined.requeue.map(|r| r.as_secs())),
            (stuck(), Some(3))
        );
        let other = Standing::blocked("Other", "Something else.");
        let joined = step(stuck(), None).and(step(other, None));
        assert_eq!((joined.standing, joined.requeue), (stuck(), None));
    }
}
