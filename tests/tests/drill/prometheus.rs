//! Steady states and abort conditions by PromQL, against a server of the test that speaks as much of
//! Prometheus' API as guardctl asks for. What it answers depends on the expression and the time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::requires;

use crate::scene::{Scene, met};

const FAULT: &str = "[[fault]]\nbulkhead = \"research\"\nservice = \"api\"\n\
                     latency = { delay = \"20ms\" }\n";

/// Answers until the test binary ends.
struct Prometheus {
    address: SocketAddr,
    /// The queries as they came, in the form of a URL.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Prometheus {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&asked);
        let began = Instant::now();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let query = answer(stream, began);
                to.lock().unwrap().extend(query);
            }
        });
        Self { address, asked }
    }

    /// Lines of an entry that asks this server.
    fn promql(&self, expression: &str) -> String {
        format!("prometheus = \"http://{}\"\npromql = '{expression}'\n", self.address)
    }
}

fn answer(mut stream: TcpStream, began: Instant) -> Option<String> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = first.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    let query = path.strip_prefix("/api/v1/query?query=")?.to_owned();
    let (status, body) = said(&query, began.elapsed());
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).ok()?;
    Some(query)
}

fn said(query: &str, age: Duration) -> (&'static str, String) {
    let sample = |value: &str| json!({ "metric": {}, "value": [age.as_secs_f64(), value] });
    let vector = |samples: &[Value]| {
        let data = json!({ "resultType": "vector", "result": samples });
        ("200 OK", json!({ "status": "success", "data": data }).to_string())
    };
    match query {
        "none" => vector(&[]),
        "many" => vector(&[sample("1"), sample("1")]),
        "nan" => vector(&[sample("NaN")]),
        "age" => vector(&[sample(&age.as_secs_f64().to_string())]),
        "scalar%281%29" => {
            let data = json!({ "resultType": "scalar", "result": [age.as_secs_f64(), "1"] });
            ("200 OK", json!({ "status": "success", "data": data }).to_string())
        }
        "sum%28" => {
            let error = "1:5: parse error: unclosed left parenthesis";
            let body = json!({ "status": "error", "errorType": "bad_data", "error": error });
            ("400 Bad Request", body.to_string())
        }
        _ => vector(&[sample("0.5")]),
    }
}

#[test]
fn a_number_of_prometheus_is_a_steady_state() {
    if !requires::cgroups("a_number_of_prometheus_is_a_steady_state") {
        return;
    }
    let (scene, prometheus) = (Scene::new(), Prometheus::start());
    let state = |name: &str, expression: &str, bounds: &str| {
        format!("[[steady_state]]\nname = \"{name}\"\n{}{bounds}\n", prometheus.promql(expression))
    };
    let good = state("vector", r#"sum(rate(a{b="c&d"}[1m]))"#, "at_least = 0.5\nat_most = 0.5")
        + &state("scalar", "scalar(1)", "at_least = 1");
    let (record, code) = scene.run(&format!("{FAULT}{good}"), &[]);
    assert_eq!(code, 0, "{record:#}");
    for name in ["vector", "scalar"] {
        for phase in ["before", "during", "after"] {
            assert_eq!(met(&record, name, phase), json!(true), "{record:#}");
        }
    }
    assert_eq!(record["checks"][0]["measured"], "0.5");
    assert_eq!(record["checks"][0]["limit"], "0.5 to 0.5");
    let sent = "sum%28rate%28a%7Bb%3D%22c%26d%22%7D%5B1m%5D%29%29".to_owned();
    assert!(prometheus.asked.lock().unwrap().contains(&sent), "{:?}", prometheus.asked);

    // No sample shows nothing, so neither does the drill.
    let (record, code) = scene.run(&format!("{FAULT}{}", state("it", "none", "at_most = 9")), &[]);
    assert_eq!((code, &record["verdict"]), (5, &json!("inconclusive")), "{record:#}");
    assert_eq!(met(&record, "it", "during"), Value::Null);
    assert!(record["why"].as_str().unwrap().contains("no sample"), "{record:#}");

    // What is missed before the faults keeps them from being injected, and says what is wrong.
    for (expression, words) in [
        ("many", "gives 2 samples: aggregate it to one"),
        ("nan", "NaN"),
        ("sum(", "Prometheus: bad_data: 1:5: parse error: unclosed left parenthesis"),
    ] {
        let rest = format!("{FAULT}{}", state("it", expression, "at_most = 9"));
        let (record, code) = scene.run(&rest, &[]);
        assert_eq!((code, &record["status"]), (5, &json!("failed")), "{expression}: {record:#}");
        assert!(record["why"].as_str().unwrap().contains(words), "{expression}: {record:#}");
        assert_eq!(record["proof"], json!([]), "{expression}");
    }
    scene.end();
}

#[test]
fn a_number_of_prometheus_ends_a_drill() {
    if !requires::cgroups("a_number_of_prometheus_ends_a_drill") {
        return;
    }
    let (scene, prometheus) = (Scene::new(), Prometheus::start());
    // Seconds since the server began: too many from the fourth on.
    let rest = format!(
        "before = \"1s\"\nduration = \"60s\"\nafter = \"5s\"\n{FAULT}\
         [[steady_state]]\nname = \"fine\"\ncommand = [\"/bin/true\"]\n\
         [[abort]]\n{}above = 4\nfor = \"2s\"\n[[abort]]\n{}below = 1\n",
        prometheus.promql("age"),
        prometheus.promql("none")
    );
    let out = scene.out();
    let (record, code) = scene.run(&rest, &["--out", &out.display().to_string()]);
    assert_eq!(code, 1, "{record:#}");
    assert_eq!((&record["status"], &record["verdict"]), (&json!("aborted"), &json!("deviated")));
    let why = record["why"].as_str().unwrap();
    assert!(why.starts_with("age is ") && why.ends_with(" > 4 for 2s"), "{why}");
    let seconds = record["seconds"].as_f64().unwrap();
    assert!((3.0..30.0).contains(&seconds), "{record:#}");
    let said = |words: &str| {
        let timeline = record["timeline"].as_array().unwrap();
        timeline.iter().filter(|m| m["what"].as_str().unwrap().contains(words)).count()
    };
    assert_eq!(said("abort condition cannot be told: none: no sample"), 1, "{record:#}");
    assert_eq!(record["cleanup"]["complete"], json!(true));
    let journal = out.join(record["run_id"].as_str().unwrap()).join("journal.json");
    let journal = std::fs::read_to_string(journal).unwrap();
    serde_json::from_str::<Value>(&journal).unwrap();
    scene.end();
}
