use nix::errno::Errno;

use super::*;
use crate::cgroup::limits::{Pressure, Stall};

const SECOND: Duration = Duration::from_secs(1);

fn plan(stages: &[Stage]) -> PressurePlan {
    PressurePlan {
        memory_above: Some(90.0),
        memory_stall_above: Some(20.0),
        cpu_stall_above: None,
        io_stall_above: None,
        lasting: 10 * SECOND,
        stages: stages.to_vec(),
        calm_share: 0.5,
        calm_for: 30 * SECOND,
        throttle_to: 80.0,
        errno: Errno::ECONNREFUSED,
    }
}

fn above() -> Level {
    Level::Above("memory".into())
}

/// What happens at these seconds of these levels.
fn run(
    plan: &PressurePlan,
    ladder: &mut Ladder,
    at: Instant,
    levels: &[(u64, Level)],
) -> Vec<(u64, Move)> {
    let mut moves = Vec::new();
    for (second, level) in levels {
        match ladder.step(plan, level, at + *second as u32 * SECOND) {
            Move::Stay => {}
            other => moves.push((*second, other)),
        }
    }
    moves
}

#[test]
fn stages_come_one_by_one_and_go_in_reverse() {
    let plan = plan(&[Stage::Throttle, Stage::Freeze]);
    let (mut ladder, at) = (Ladder::default(), Instant::now());
    let mut levels: Vec<_> = (0..=25).map(|second| (second, above())).collect();
    levels.extend((26..=100).map(|second| (second, Level::Calm)));
    let moves = run(&plan, &mut ladder, at, &levels);
    let wanted = [
        (10, Move::Enter(Stage::Throttle)),
        (20, Move::Enter(Stage::Freeze)),
        (56, Move::Leave(Stage::Freeze)),
        (86, Move::Leave(Stage::Throttle)),
    ];
    assert_eq!(moves, wanted);
    assert!(ladder.in_force(&plan).is_empty());
}

#[test]
fn pressure_that_comes_and_goes_does_nothing_and_between_holds_the_stage() {
    let plan = plan(&[Stage::Throttle, Stage::Kill]);
    let (mut ladder, at) = (Ladder::default(), Instant::now());
    let mut levels: Vec<_> = (0..60)
        .map(|second| (second, if second % 9 == 0 { Level::Between } else { above() }))
        .collect();
    assert!(run(&plan, &mut ladder, at, &levels).is_empty(), "never 10 s in a row");
    levels = vec![(99, Level::Between)];
    levels.extend((100..=110).map(|second| (second, above())));
    levels.extend((111..1000).map(|second| (second, Level::Between)));
    // Calm, but never long enough.
    levels.extend((1000..1029).map(|second| (second, Level::Calm)));
    levels.push((1029, Level::Between));
    levels.extend((1030..1059).map(|second| (second, Level::Calm)));
    let moves = run(&plan, &mut ladder, at, &levels);
    assert_eq!(moves, [(110, Move::Enter(Stage::Throttle))]);
    assert_eq!(ladder.in_force(&plan), [Stage::Throttle]);
}

#[test]
fn the_last_stage_comes_again_while_pressure_lasts() {
    let plan = plan(&[Stage::KillNewest]);
    let levels: Vec<_> = (0..=30).map(|second| (second, above())).collect();
    let moves = run(&plan, &mut Ladder::default(), Instant::now(), &levels);
    let enter = Move::Enter(Stage::KillNewest);
    assert_eq!(moves, [(10, enter), (20, enter), (30, enter)]);
}

#[test]
fn a_shorter_plan_never_reaches_beyond_its_end() {
    let long = plan(&[Stage::Throttle, Stage::Refuse, Stage::Freeze]);
    let (mut ladder, at) = (Ladder::default(), Instant::now());
    let levels: Vec<_> = (0..=30).map(|second| (second, above())).collect();
    run(&long, &mut ladder, at, &levels);
    let short = plan(&[Stage::Throttle]);
    assert_eq!(ladder.in_force(&short), [Stage::Throttle]);
    assert_eq!(ladder.step(&short, &Level::Calm, at + 31 * SECOND), Move::Stay);
}

#[test]
fn levels_follow_the_thresholds() {
    let plan = plan(&[Stage::Throttle]);
    let limits = LimitsPlan { memory_max: Some(1000), ..LimitsPlan::default() };
    let usage = |bytes: u64, stall: f64| Usage {
        memory_bytes: Some(bytes),
        pressure: [
            Some(Pressure { some: Stall { avg10: stall, total_us: 0 }, full: Stall::default() }),
            None,
            None,
        ],
        ..Usage::default()
    };
    let of = |usage: &Usage| level(&plan, &limits, usage);
    assert_eq!(of(&usage(100, 0.0)), Level::Calm);
    assert_eq!(of(&usage(500, 0.0)), Level::Between, "half of the threshold is the margin");
    assert_eq!(of(&usage(900, 0.0)), Level::Between, "at the threshold is not above it");
    assert_eq!(of(&usage(901, 0.0)), Level::Above("memory_above 90%: 90.1%".into()));
    assert_eq!(of(&usage(100, 21.0)), Level::Above("memory_stall_above 20%: 21.0%".into()));
    assert_eq!(of(&Usage::default()), Level::Calm, "what cannot be read is no reason");
}
