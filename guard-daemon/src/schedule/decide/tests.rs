//! Decisions one by one, and over days with random outages.

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn rules(overlap: Overlap, missed: Missed) -> Rules {
    Rules { window: Duration::from_mins(10), overlap, missed }
}

/// A time planned at second 0, looked at so late.
fn late(seconds: i64, rules: &Rules, busy: Option<Busy>) -> Decision {
    decide(at(seconds), Some(at(0)), at(-1), None, rules, busy)
}

#[test]
fn in_time_it_begins_once() {
    let rules = rules(Overlap::Skip, Missed::Skip);
    assert_eq!(late(0, &rules, None), Decision::Start(at(0)));
    assert_eq!(late(10, &rules, None), Decision::Start(at(0)));
    assert_eq!(decide(at(1), Some(at(0)), at(0), None, &rules, None), Decision::Nothing);
    assert_eq!(decide(at(1), None, at(-1), None, &rules, None), Decision::Nothing);
    // A clock that was set back.
    assert_eq!(decide(at(-5), Some(at(0)), at(-9), None, &rules, None), Decision::Nothing);
}

#[test]
fn a_missed_time_is_left_out_or_run_within_its_window() {
    let skip = rules(Overlap::Skip, Missed::Skip);
    assert_eq!(late(16, &skip, None), Decision::Skip(at(0), Skipped::Missed));
    let once = rules(Overlap::Skip, Missed::RunOnce);
    assert_eq!(late(16, &once, None), Decision::Start(at(0)));
    assert_eq!(late(600, &once, None), Decision::Start(at(0)));
    assert_eq!(late(601, &once, None), Decision::Skip(at(0), Skipped::WindowOver));
}

#[test]
fn another_drill_is_waited_for_if_the_schedule_says_so() {
    let skip = rules(Overlap::Skip, Missed::Skip);
    assert_eq!(late(0, &skip, Some(Busy::Drill)), Decision::Skip(at(0), Skipped::Overlap));
    let wait = rules(Overlap::Wait, Missed::Skip);
    assert_eq!(late(0, &wait, Some(Busy::Drill)), Decision::Wait(at(0)));
    let again = |second, busy| decide(at(second), Some(at(0)), at(-1), Some(at(0)), &wait, busy);
    assert_eq!(again(500, Some(Busy::Drill)), Decision::Wait(at(0)));
    assert_eq!(again(500, None), Decision::Start(at(0)), "it was there, so it is not missed");
    assert_eq!(again(601, None), Decision::Skip(at(0), Skipped::WindowOver));
    assert_eq!(late(0, &wait, Some(Busy::Halted)), Decision::Skip(at(0), Skipped::Halted));
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let overlap = prop_oneof![Just(Overlap::Skip), Just(Overlap::Wait)];
    let missed = prop_oneof![Just(Missed::Skip), Just(Missed::RunOnce)];
    (1_u64..2 * 3600, overlap, missed).prop_map(|(window, overlap, missed)| Rules {
        window: Duration::from_secs(window),
        overlap,
        missed,
    })
}

proptest! {
    /// guardd looks at steps of any length, back too (a clock that is set), forgets what waits (a
    /// restart), and is busy at random: no planned time begins twice, and none outside its window.
    #[test]
    fn nothing_runs_twice_or_outside_its_window(
        rules in any_rules(),
        period in 1_i64..3 * HOUR,
        steps in prop::collection::vec(
            (-600_i64..2 * HOUR, 0_u8..6, any::<bool>()), 1..200),
    ) {
        let (mut now, mut handled, mut waiting) = (0_i64, at(-1), None);
        let mut started: Vec<Timestamp> = Vec::new();
        for (step, busy, restart) in steps {
            now = (now + step).max(0);
            if restart {
                waiting = None;
            }
            let busy = match busy {
                0 => Some(Busy::Halted),
                1 | 2 => Some(Busy::Drill),
                _ => None,
            };
            let planned = Some(at(now - now % period));
            match decide(at(now), planned, handled, waiting, &rules, busy) {
                Decision::Nothing => {}
                Decision::Wait(planned) => {
                    prop_assert!(busy == Some(Busy::Drill) && rules.overlap == Overlap::Wait);
                    waiting = Some(planned);
                }
                Decision::Skip(planned, _) => handled = planned,
                Decision::Start(planned) => {
                    prop_assert!(busy.is_none());
                    prop_assert!(!started.contains(&planned), "twice: {planned}");
                    prop_assert!(planned <= at(now));
                    prop_assert!(at(now).duration_since(planned).unsigned_abs() <= rules.window);
                    started.push(planned);
                    handled = planned;
                }
            }
        }
        prop_assert!(started.is_sorted());
    }

    /// A guardd that is always there and never busy leaves out nothing.
    #[test]
    fn nothing_is_left_out_without_a_reason(rules in any_rules(), period in 1_i64..3 * HOUR) {
        let (mut handled, mut count) = (at(-1), 0);
        for number in 0..50 {
            let planned = at(number * period);
            if let Decision::Start(start) =
                decide(planned, Some(planned), handled, None, &rules, None)
            {
                handled = start;
                count += 1;
            }
        }
        prop_assert_eq!(count, 50);
    }
}
