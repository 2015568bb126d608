//! What to do with a planned time, now. Pure. It never lets one planned time begin two drills, and
//! none outside of its window: `tests` try it with times and policies of all kinds.

use std::time::Duration;

use jiff::Timestamp;

/// How late guardd may look at a planned time and still have been there: it looks every ten seconds
/// or more often.
const THERE_WITHIN: Duration = Duration::from_secs(15);

/// What a schedule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Latest start after the planned time.
    pub window: Duration,
    /// When another drill runs.
    pub overlap: Overlap,
    /// When guardd was not there at the planned time.
    pub missed: Missed,
}

/// When another drill runs at the planned time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// It is left out.
    Skip,
    /// It begins after the other one, if that ends within the window.
    Wait,
}

/// When guardd did not run, or the host slept, at the planned time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// It is left out.
    Skip,
    /// The last one that was missed is run, within its window.
    RunOnce,
}

/// Why none can begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Faults are halted.
    Halted,
    /// Another drill runs.
    Drill,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is due.
    Nothing,
    /// Begin the drill of this planned time, which is done with.
    Start(Timestamp),
    /// Ask again soon: this planned time waits for another drill's end.
    Wait(Timestamp),
    /// This planned time is done with: why.
    Skip(Timestamp, Skipped),
}

/// Why a planned time was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// guardd did not run, or the host slept.
    Missed,
    /// Its window is over.
    WindowOver,
    /// Faults are halted.
    Halted,
    /// Another drill runs.
    Overlap,
}

impl Skipped {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Missed => "missed: guardd did not run, or the host slept",
            Self::WindowOver => "its window is over",
            Self::Halted => "faults are halted",
            Self::Overlap => "another drill runs",
        }
    }
}

/// Decides. `planned` is the last planned time until now; `handled` the last one that is done with
/// (or when the schedule was first seen); `waiting` the one that a [`Decision::Wait`] was about.
pub fn decide(
    now: Timestamp,
    planned: Option<Timestamp>,
    handled: Timestamp,
    waiting: Option<Timestamp>,
    rules: &Rules,
    busy: Option<Busy>,
) -> Decision {
    let Some(planned) = planned.filter(|planned| handled < *planned && *planned <= now) else {
        return Decision::Nothing;
    };
    let late = now.duration_since(planned).unsigned_abs();
    let skip = |why| Decision::Skip(planned, why);
    if waiting != Some(planned) && late > THERE_WITHIN && rules.missed == Missed::Skip {
        return skip(Skipped::Missed);
    }
    if late > rules.window {
        return skip(Skipped::WindowOver);
    }
    match (busy, rules.overlap) {
        (None, _) => Decision::Start(planned),
        (Some(Busy::Halted), _) => skip(Skipped::Halted),
        (Some(Busy::Drill), Overlap::Skip) => skip(Skipped::Overlap),
        (Some(Busy::Drill), Overlap::Wait) => Decision::Wait(planned),
    }
}

#[cfg(test)]
mod tests;
