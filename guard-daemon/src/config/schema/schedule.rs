//! Keys of `[[schedule]]`.

use std::time::Duration;

use super::{Absent, Key, Kind};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// `[[schedule]]`.
pub(super) static SCHEDULE: &[Key] = &[
    Key::new(
        "name",
        Kind::Name,
        Absent::Required,
        "What the schedule is called in metrics, events and `guardctl drill list`; unique.",
    )
    .example("\"weekly-brownout\""),
    Key::new(
        "drill",
        Kind::AbsolutePath,
        Absent::Required,
        "The drill file. guardd runs it with its own rights, as a guardctl of its own: nobody else \
         should be able to write the file, or the commands that it names.",
    )
    .example("\"/etc/guard/drills/github-brownout.toml\""),
    Key::new(
        "calendar",
        Kind::Calendar,
        Absent::Required,
        "When, as a cron expression in the local time of the host: minute, hour, day of the month, \
         month, day of the week. A sixth field in front is seconds. `@daily`, `@weekly` and so on are \
         understood, and `L`, `W` and `#` as in `MON#1`, the first Monday.",
    )
    .example("\"0 10 * * MON-FRI\""),
    Key::new(
        "window",
        Kind::Duration { min: SECOND, max: DAY },
        Absent::Value("\"30m\""),
        "Latest start after the planned time.",
    )
    .example("\"30m\""),
    Key::new(
        "overlap",
        Kind::Choice(&["skip", "wait"]),
        Absent::Value("\"skip\""),
        "What to do when another drill runs at the planned time: leave it out, or begin it when the \
         other has ended within the window.",
    )
    .example("\"wait\""),
    Key::new(
        "missed",
        Kind::Choice(&["skip", "run_once"]),
        Absent::Value("\"skip\""),
        "What to do when guardd did not run, or the host slept, at the planned time: leave it out, or \
         run the last one that was missed, within its window.",
    )
    .example("\"run_once\""),
    Key::new(
        "out",
        Kind::AbsolutePath,
        Absent::Words("`drills` below `daemon.state_dir`"),
        "Directory for results: each run has a directory of its own in it. Nothing is ever removed \
         from it.",
    )
    .example("\"/var/lib/guard/drills\""),
    Key::new("enabled", Kind::Flag, Absent::Value("true"), "Whether it is run at all.")
        .example("false"),
];
