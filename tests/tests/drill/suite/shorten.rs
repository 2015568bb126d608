//! Makes a shipped drill short enough for a test. What changes is times alone, all by one factor, so
//! that what is tested is what is shipped; nobody's name, effect, share, delay or limit does.

use std::time::Duration;

use toml::{Table, Value};

/// How long the faults of a shortened drill act, all together.
const DURATION: Duration = Duration::from_secs(4);
/// How long the steady state is watched before them.
const BEFORE: &str = "1s";
/// Delays from here on are shortened too: with shorter ones a call ends within the time of a test.
const LONG_DELAY_SECONDS: f64 = 10.0;
/// The same random decisions at each run, so that a share of few calls is no matter of luck.
const SEED: i64 = 42;

/// A shipped drill, read when the test is built: a guest has no sources.
#[derive(Clone, Copy)]
pub struct Shipped {
    /// The file, without `.toml`.
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! shipped {
    ($name:literal) => {
        $crate::suite::shorten::Shipped {
            name: $name,
            text: include_str!(concat!("../../../../configs/drills/", $name, ".toml")),
        }
    };
}
pub(crate) use shipped;

/// Names of the files that there are; none in a guest.
pub fn files() -> Option<Vec<String>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/drills");
    let files = std::fs::read_dir(directory).ok()?;
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".toml").unwrap().to_owned())
        .collect();
    names.sort();
    Some(names)
}

/// `duration` becomes [`DURATION`], and `start`, `duration` and `pulse` of each fault follow by the
/// same factor, and a `delay` that is longer than a test; `before` becomes [`BEFORE`]; `seed` is set. `after` stays: it ends when all is well. With
/// `after` given, for drills in which it never will be, it is that instead.
pub fn shorten(mut drill: Table, after: Option<&str>) -> String {
    let factor = DURATION.as_secs_f64() / seconds(&drill["duration"]);
    drill["before"] = BEFORE.into();
    drill.insert("seed".to_owned(), SEED.into());
    scale(&mut drill, "duration", factor);
    if let Some(after) = after {
        drill["after"] = after.into();
    }
    for fault in drill["fault"].as_array_mut().unwrap() {
        let fault = fault.as_table_mut().unwrap();
        scale(fault, "start", factor);
        scale(fault, "duration", factor);
        if let Some(Value::Table(pulse)) = fault.get_mut("pulse") {
            scale(pulse, "on", factor);
            scale(pulse, "off", factor);
        }
        if let Some(Value::Table(latency)) = fault.get_mut("latency")
            && seconds(&latency["delay"]) >= LONG_DELAY_SECONDS
        {
            scale(latency, "delay", factor);
        }
    }
    toml::to_string(&drill).unwrap()
}

/// Services of the faults; none for those on name servers.
pub fn targets(drill: &Table) -> Vec<Option<String>> {
    let service =
        |fault: &Value| fault.get("service").map(|name| name.as_str().unwrap().to_owned());
    drill["fault"].as_array().unwrap().iter().map(service).collect()
}

fn scale(table: &mut Table, key: &str, factor: f64) {
    if let Some(value) = table.get_mut(key) {
        // Whole milliseconds, rounded down: the parts must not be longer than the whole.
        *value = format!("{}ms", (seconds(value) * factor * 1000.0) as u64).into();
    }
}

/// A duration of a drill file: a number with a unit.
fn seconds(value: &Value) -> f64 {
    let text = value.as_str().unwrap();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap();
    let unit = match &text[at..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        unit => panic!("`{text}`: no rule for the unit `{unit}`"),
    };
    text[..at].parse::<f64>().unwrap() * unit
}

#[test]
fn times_alone_are_shortened() {
    let drill = "before = \"10s\"\nduration = \"2m\"\nafter = \"5m\"\n[[fault]]\nstart = \"30s\"\n\
                 latency = { delay = \"300ms\" }\npulse = { on = \"15s\", off = \"30s\" }\n";
    let short: Table = shorten(drill.parse().unwrap(), None).parse().unwrap();
    let expected: Table = "before = \"1s\"\nduration = \"4000ms\"\nafter = \"5m\"\nseed = 42\n\
                           [[fault]]\nstart = \"1000ms\"\nlatency = { delay = \"300ms\" }\n\
                           pulse = { on = \"500ms\", off = \"1000ms\" }\n"
        .parse()
        .unwrap();
    assert_eq!(short, expected);
}
