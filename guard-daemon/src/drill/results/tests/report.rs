//! The report, whole, and that no name breaks its tables.

use super::super::report::text;
use super::records;

#[test]
fn held() {
    insta::assert_snapshot!(text(&records::held()), @r#"
    # HELD: github-brownout

    **Why:** every steady state held

    |  |  |
    | --- | --- |
    | run | 01JD8QK3 |
    | drill | github-brownout |
    | purpose | weekly drill; owner: sre |
    | status | completed |
    | verdict | held |
    | exit code | 0 |
    | start | 2026-11-23T17:20:00.5Z |
    | end | 2026-11-23T17:21:00.8Z |
    | duration | 60.3 s |
    | host | web-7 |
    | kernel | 6.12.9 |
    | guard | 0.1.0 |
    | seed | 42 |
    | file | drills/github-brownout.toml |

    ## Steady states

    |  | steady state | limit | before | during | after | first miss |
    | --- | --- | --- | --- | --- | --- | --- |
    | ok | writing success rate | at least 95 % | ok 99.6 % of 250 calls | ok 99.1 % of 1510 calls | ok 99.5 % of 1260 calls | - |
    | ok | research/github opens | open | - | ok open at +17.0 s | - | - |

    ok: met; x: missed; ?: cannot be told.

    ## Proof of injection

    |  | on | asked | measured | n | engine | ended | seed |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | ok | research/github | latency 300ms +-50ms normal | p50 301.2 p95 383.0 ms of 1190 packets | 1 190 | nfqueue | done | 42 |
    | ok | research/github | loss 2% in bursts of 4 | 1.98 % of 1190 packets (95 %: 1.3 to 2.9) | 1 190 | nfqueue | done | 42 |

    n: packets or connects that the fault was about.

    ## Collateral

    Bulkheads that were no target. No packet or connect of theirs may be touched.

    |  | bulkhead | touched | calls |
    | --- | --- | --- | --- |
    | ok | writing | 0 | 88 412 |

    ## Cleanup

    ok: the host was as before 1.1 s after the end of the faults.

    ## Times

    | what | took | since |
    | --- | --- | --- |
    | research/github opens | 11.8 s | faults begin |
    | research/github closes again | 4.8 s | faults end |
    | calls research/github succeed again | 4.8 s | faults end |

    Taken from one look a second.

    ## Charts

    ![Success rate over time](success.svg)

    ![95th percentile of the time to the first byte over time](latency.svg)

    ![State of each breaker over time](breakers.svg)

    ## Timeline

    | since start | UTC | phase | what |
    | --- | --- | --- | --- |
    | +0.0 s | 2026-11-23T17:20:00.000000Z | - | plan: 2 faults on research/github |
    | +0.1 s | 2026-11-23T17:20:00.000000Z | before | steady state is watched |
    | +5.2 s | 2026-11-23T17:20:05.000000Z | during | fault 7 injected |
    | +17.0 s | 2026-11-23T17:20:17.000000Z | during | breaker research/github opened |
    | +35.2 s | 2026-11-23T17:20:35.000000Z | after | faults ended |
    | +60.3 s | 2026-11-23T17:20:59.000000Z | - | the host is as before |

    ## Plan

    | bulkhead | cgroup | processes | service | addresses | effect | engine | when |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | research | /sys/fs/cgroup/agents/research | 4711, 4712 | github | 140.82.112.5, 140.82.113.5 | latency 300ms +-50ms normal | nfqueue | 0.0 s to 30.0 s |
    | research | /sys/fs/cgroup/agents/research | 4711, 4712 | github | 140.82.112.5, 140.82.113.5 | loss 2% in bursts of 4 | kernel | 0.0 s to 30.0 s |

    When: since the faults began.

    Never touched:

    * 127\.0.0.0/8
    * port 22 (ssh)

    ## The drill file

    ```toml
    name = "github-brownout"
    duration = "30s"
    ```

    ## Run it again

    The seed makes the same random decisions.

    ```sh
    guardctl drill run drills/github-brownout.toml --seed 42
    ```
    "#);
}

#[test]
fn interrupted_with_left_overs() {
    insta::assert_snapshot!(text(&records::interrupted()), @r#"
    # CLEANUP INCOMPLETE: github-brownout

    **Why:** interrupted by SIGINT in the middle of the faults

    |  |  |
    | --- | --- |
    | run | 01JD8QK3 |
    | drill | github-brownout |
    | purpose | weekly drill; owner: sre |
    | status | interrupted |
    | verdict | inconclusive |
    | exit code | 3 |
    | start | 2026-11-23T17:20:00.5Z |
    | end | 2026-11-23T17:20:20.5Z |
    | duration | 20.0 s |
    | host | web-7 |
    | kernel | 6.12.9 |
    | guard | 0.1.0 |
    | seed | 42 |
    | file | drills/github-brownout.toml |

    ## Steady states

    |  | steady state | limit | before | during | after | first miss |
    | --- | --- | --- | --- | --- | --- | --- |
    | ok | writing success rate | at least 95 % | ok 99.6 % of 250 calls | - | - | - |

    ok: met; x: missed; ?: cannot be told.

    ## Proof of injection

    |  | on | asked | measured | n | engine | ended | seed |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | ok | research/github | latency 300ms +-50ms normal | p50 301.2 p95 383.0 ms of 1190 packets | 1 190 | nfqueue | done | 42 |
    | ok | research/github | loss 2% in bursts of 4 | 1.98 % of 1190 packets (95 %: 1.3 to 2.9) | 1 190 | nfqueue | done | 42 |

    n: packets or connects that the fault was about.

    ## Collateral

    Bulkheads that were no target. No packet or connect of theirs may be touched.

    |  | bulkhead | touched | calls |
    | --- | --- | --- | --- |
    | x | writing | 2 | 88 412 |

    ## Cleanup

    x: this was left on the host:

    * nftables chain guard/delay\_7
    * qdisc fq on eth0

    Remove it: guardctl fault clear --all; where no guardd runs any more: guardctl cleanup

    ## Times

    | what | took | since |
    | --- | --- | --- |
    | research/github opens | 11.8 s | faults begin |

    Taken from one look a second.

    ## Charts

    ![Success rate over time](success.svg)

    ![95th percentile of the time to the first byte over time](latency.svg)

    ![State of each breaker over time](breakers.svg)

    ## Timeline

    | since start | UTC | phase | what |
    | --- | --- | --- | --- |
    | +0.0 s | 2026-11-23T17:20:00.000000Z | - | plan: 2 faults on research/github |
    | +0.1 s | 2026-11-23T17:20:00.000000Z | before | steady state is watched |
    | +5.2 s | 2026-11-23T17:20:05.000000Z | during | fault 7 injected |

    ## Plan

    | bulkhead | cgroup | processes | service | addresses | effect | engine | when |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | research | /sys/fs/cgroup/agents/research | 4711, 4712 | github | 140.82.112.5, 140.82.113.5 | latency 300ms +-50ms normal | nfqueue | 0.0 s to 30.0 s |
    | research | /sys/fs/cgroup/agents/research | 4711, 4712 | github | 140.82.112.5, 140.82.113.5 | loss 2% in bursts of 4 | kernel | 0.0 s to 30.0 s |

    When: since the faults began.

    Never touched:

    * 127\.0.0.0/8
    * port 22 (ssh)

    ## The drill file

    ```toml
    name = "github-brownout"
    duration = "30s"
    ```

    ## Run it again

    The seed makes the same random decisions.

    ```sh
    guardctl drill run drills/github-brownout.toml --seed 42
    ```
    "#);
}

#[test]
fn empty() {
    insta::assert_snapshot!(text(&records::empty()), @"
    # FAILED: github-brownout

    **Why:** no guardd answers

    |  |  |
    | --- | --- |
    | run | 01JD8QK3 |
    | drill | github-brownout |
    | purpose | - |
    | status | failed |
    | verdict | inconclusive |
    | exit code | 5 |
    | start | 2026-11-23T17:20:00.5Z |
    | end | 2026-11-23T17:20:00.5Z |
    | duration | 0.0 s |
    | host | web-7 |
    | kernel | 6.12.9 |
    | guard | 0.1.0 |
    | seed | 42 |
    | file | drills/github-brownout.toml |

    ## Steady states

    None was checked.

    ## Proof of injection

    No fault was injected.

    ## Collateral

    There was no other bulkhead.

    ## Cleanup

    ?: guardd could not be asked. The kernel ends each fault at its deadline; when guardd runs again, `guardctl fault list` shows what is there.

    ## Charts

    ![Success rate over time](success.svg)

    ![95th percentile of the time to the first byte over time](latency.svg)

    ![State of each breaker over time](breakers.svg)

    ## Timeline

    Nothing happened.

    ## Plan

    guardd made no plan.

    ## The drill file

    ```toml

    ```

    ## Run it again

    The seed makes the same random decisions.

    ```sh
    guardctl drill run drills/github-brownout.toml --seed 42
    ```
    ");
}

/// Cells of a line of a table.
fn cells(line: &str) -> usize {
    line.replace("\\\\", "").replace("\\|", "").matches('|').count()
}

#[test]
fn tables_have_the_same_number_of_cells_in_each_line() {
    for (name, record) in records::all() {
        let text = text(&record);
        let mut fence = None;
        let mut expected = 0;
        for line in text.lines() {
            let ticks = line.chars().take_while(|c| *c == '`').count();
            match fence {
                Some(open) if ticks == open && line.len() == open => fence = None,
                None if ticks >= 3 => fence = Some(ticks),
                _ => {}
            }
            if fence.is_some() || !line.starts_with('|') {
                expected = 0;
                continue;
            }
            if expected == 0 {
                expected = cells(line);
            }
            assert_eq!(cells(line), expected, "{name}: {line}");
        }
        assert_eq!(fence, None, "{name}\n{text}");
        let headings = text.lines().filter(|line| line.starts_with("# ")).count();
        assert!(headings >= 1 && text.starts_with("# "), "{name}");
    }
}
