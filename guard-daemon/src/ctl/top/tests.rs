//! The screen on a backend without a terminal, and the terminal after a panic.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::app::{After, App};
use super::model::{Answers, Extra};

fn bulkhead(name: &str, calls: u64, failed: u64) -> Value {
    let mut buckets = vec![0; 17];
    buckets[3] = calls;
    buckets[8] = failed;
    json!({
        "name": name, "cgroup": format!("/sys/fs/cgroup/{name}"), "state": "attached",
        "processes": 3, "connections": 12,
        "services": [{
            "name": "github", "connections": 12, "connects": 9, "connects_established": 9,
            "calls": {"success": calls, "reset": failed}, "calls_injected": {},
            "success_ratio": 0.9, "call_buckets": buckets, "sent_bytes": 1, "received_bytes": 2,
            "retransmits": 0, "faulted": 0, "would_have": 0,
        }],
    })
}

fn answers(bulkheads: &Value, breakers: &Value) -> Answers {
    let status = json!({
        "schema": "guard.status/1", "version": "9.9.9", "pid": 7, "uptime_seconds": 60.0,
        "mode": "enforce", "health": "ok", "problems": [], "config_path": "/g", "delay_engine": "edt",
        "config_age_seconds": 1.0, "cgroup_root": "/c", "faults": [], "events_lost": 0,
        "bulkheads": bulkheads,
    });
    let extras = bulkheads.as_array().unwrap().iter().map(|b| Extra::deserialize(b).unwrap());
    Answers {
        extras: extras.collect(),
        status: serde_json::from_value(status).unwrap(),
        breakers: serde_json::from_value(breakers.clone()).unwrap(),
    }
}

fn breaker(bulkhead: &str, state: &str) -> Value {
    json!({
        "bulkhead": bulkhead, "service": "github", "state": state, "mode": "enforce", "failures": 0,
        "failure_threshold": 5, "trips": 1, "remaining_seconds": 22.0, "rejected": 3, "held": 0,
        "would_have": 0, "probes_succeeded": 0, "probes_failed": 0, "probes_given_back": 0,
        "generation": 2, "last_outcomes": [], "why": "5 consecutive failures",
    })
}

fn app() -> App {
    let mut app = App::default();
    let before = json!([bulkhead("research", 100, 0), bulkhead("writing", 10, 0)]);
    app.model.take(0.0, answers(&before, &json!([])));
    let now = json!([bulkhead("research", 150, 0), bulkhead("writing", 19, 1)]);
    app.model.take(10.0, answers(&now, &json!([breaker("writing", "open")])));
    app
}

fn drawn(app: &mut App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    super::draw(&mut terminal, app).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content.chunks(usize::from(width));
    let lines = rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
    lines.map(|line| line.trim_end().to_owned() + "\n").collect::<String>().trim_end().to_owned()
}

fn press(app: &mut App, code: KeyCode) -> After {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn figures_are_those_of_the_window() {
    insta::assert_snapshot!(drawn(&mut app(), 80, 24), @"
    guardd 9.9.9  ok  up 1m00s   mode enforce
    bulkheads 2   breakers open 1   faults 0
    figures of the last 10s   by name
    BULKHEAD  PROCS  CONNS  CALLS/s   OK %   P50    P99  BREAKERS  FAULTS
    research      3     12      5.0  100.0  15ms   20ms    closed       0
    writing       3     12      1.0   90.0  16ms  608ms    1 open       0

















    q quit  arrows select  enter details  tab sort  r reverse  space pause  ? help
    ");
}

#[test]
fn what_is_there_has_its_column_and_what_fits_is_shown() {
    let mut app = App::default();
    let mut research = bulkhead("research", 100, 0);
    research["resources"] = json!({
        "memory_bytes": 858_993_459_u64, "memory_stall_percent": 1.5, "cpu_stall_percent": 12.0,
        "limits": [{"resource": "memory_max", "value": "2147483648", "limit": 2_147_483_648.0,
                    "state": "enforced"}],
    });
    research["limits"] = json!([
        {"connections": 12, "max_connections": 64, "rejected": {"connections": 27}, "blocked": false},
    ]);
    let bulkheads = json!([research, bulkhead("writing", 10, 10)]);
    app.model.take(0.0, answers(&bulkheads, &json!([])));
    insta::assert_snapshot!(drawn(&mut app, 120, 9), @"
    guardd 9.9.9  ok  up 1m00s   mode enforce
    bulkheads 2   breakers open 0   faults 0
    figures since guardd counts   by name
    BULKHEAD  PROCS     MEMORY      MAX  STALL%  CONNS  CALLS/s   OK %   P50    P99  BREAKERS  LIMITED  FAULTS
    research      3  819.2 MiB  2.0 GiB    12.0  12/64        -  100.0  15ms   20ms    closed       27       0
    writing       3          -        -       -     12        -   50.0  20ms  634ms    closed        0       0


    q quit  arrows select  enter details  tab sort  r reverse  space pause  ? help
    ");
    insta::assert_snapshot!(drawn(&mut app, 60, 9), @"
    guardd 9.9.9  ok  up 1m00s   mode enforce
    bulkheads 2   breakers open 0   faults 0
    figures since guardd counts   by name
    BULKHEAD  CONNS  CALLS/s   OK %    P99  BREAKERS  FAULTS
    research  12/64        -  100.0   20ms    closed       0
    writing      12        -   50.0  634ms    closed       0


    q quit  arrows select  enter details  tab sort  r reverse  s
    ");
    press(&mut app, KeyCode::Enter);
    insta::assert_snapshot!(drawn(&mut app, 100, 14), @"
    guardd 9.9.9  ok  up 1m00s   mode enforce
    bulkheads 2   breakers open 0   faults 0
    figures since guardd counts   by name
    research   attached
    /sys/fs/cgroup/research   processes 3
    memory 819.2 MiB   waiting for memory 1.5 %, processors 12.0 %
    memory_max 2.0 GiB (enforced)

    SERVICE  CALLS/s   OK %   P50   P99  CONNS  BREAKER
    github         -  100.0  15ms  20ms     12  -

    limit of all services: connections 12/64, retries 0, 27 rejected for connections

    q quit  arrows select  enter details  tab sort  r reverse  space pause  ? help
    ");
}

#[test]
fn keys() {
    let mut app = app();
    let selected = |app: &App| {
        let (rows, at) = app.rows();
        rows[at.unwrap()].name.clone()
    };
    assert_eq!(selected(&app), "research");
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Down);
    assert_eq!(selected(&app), "writing");
    // It stays selected where its row goes.
    press(&mut app, KeyCode::Char('o'));
    assert_eq!((app.rows().0[0].name.as_str(), selected(&app).as_str()), ("writing", "writing"));
    press(&mut app, KeyCode::Char('r'));
    assert_eq!(app.rows().0[0].name, "research");
    press(&mut app, KeyCode::Enter);
    let page = drawn(&mut app, 80, 24);
    assert!(page.contains("writing   attached") && page.contains("open, probe in 22s"), "{page}");
    assert_eq!(press(&mut app, KeyCode::Esc), After::Draw);
    assert!(drawn(&mut app, 80, 24).contains("BULKHEAD"));
    press(&mut app, KeyCode::Char('?'));
    assert!(drawn(&mut app, 80, 24).contains("any key: back"));
    assert_eq!(press(&mut app, KeyCode::Char('q')), After::Draw);
    assert_eq!(press(&mut app, KeyCode::Char('q')), After::Quit);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.key(control_c), After::Quit);
}

#[test]
fn odd_sizes_and_names_do_no_harm() {
    let mut app = app();
    for (width, height) in [(1, 1), (39, 24), (80, 7), (40, 8), (300, 100)] {
        drawn(&mut app, width, height);
    }
    let odd = json!([bulkhead("a\u{1b}[31m", 1, 0)]);
    app.model.take(20.0, answers(&odd, &json!([])));
    assert!(!drawn(&mut app, 80, 24).contains('\u{1b}'));
    // Another guardd counts anew.
    let mut fresh = answers(&json!([bulkhead("research", 1, 0)]), &json!([]));
    fresh.status.pid = 8;
    app.model.take(30.0, fresh);
    assert_eq!(app.model.window_seconds(), None);
    app.model.take(31.0, answers(&json!([]), &json!([])));
    assert!(drawn(&mut app, 80, 24).contains("no bulkheads are configured"));
    for code in [KeyCode::Down, KeyCode::End, KeyCode::PageUp, KeyCode::Enter] {
        press(&mut app, code);
        drawn(&mut app, 80, 24);
    }
}

/// Set by whoever wants the panic.
const PANICS: &str = "GUARD_TEST_TOP_PANICS";

/// Run by itself, in a terminal, by the test `top::the_terminal_is_restored_after_a_panic`.
#[test]
fn panics_in_a_terminal() {
    if std::env::var_os(PANICS).is_none() {
        return;
    }
    let _terminal = ratatui::try_init().unwrap();
    panic!("on purpose");
}
