//! What the terminal shows at the end, at 96 and 80 columns.

use super::super::summary;
use super::records;

#[test]
fn held() {
    insta::assert_snapshot!(summary(&records::held(), 96), @"
    HELD  github-brownout   60.3s   run 01JD8QK3
    every steady state held

        STEADY STATE           BEFORE  DURING           AFTER   LIMIT          FIRST MISS
    ok  writing success rate   99.6 %  99.1 %           99.5 %  at least 95 %           -
    ok  research/github opens  -       open at +17.0 s  -       open                    -

    PROOF  ASKED                        MEASURED                            MATCHED  ON
    ok     latency 300ms +-50ms normal  p50 301.2 p95 383.0 ms of 1190 ...    1 190  research/github
    ok     loss 2% in bursts of 4       1.98 % of 1190 packets (95 %: 1...    1 190  research/github
    ok     others are not touched       nothing touched in 88 412 calls           0  writing

    TIMES    research/github opens 11.8s after faults begin; research/github closes again 4.8s after
             faults end; calls research/github succeed again 4.8s after faults end
    CLEANUP  ok the host is as before, 1.1s after the end of the faults

    again    guardctl drill run drills/github-brownout.toml --seed 42
    exit 0 (held)
    ");
}

#[test]
fn deviated_in_80_columns() {
    insta::assert_snapshot!(summary(&records::deviated(), 80), @"
    DEVIATED  github-brownout   60.3s   run 01JD8QK3
    writing success rate was 93.8 % during the faults, at least 95 % was asked

        STEADY STATE      BEFORE  DURING           AFTER   LIMIT          FIRST MISS
    x   writing succe...  99.6 %  x 93.8 %         99.5 %  at least 95 %      +14.1s
    ok  research/gith...  -       open at +17.0 s  -       open                    -

    PROOF  ASKED                    MEASURED                MATCHED  ON
    ok     latency 300ms +-50ms...  p50 301.2 p95 383.0...    1 190  research/github
    ok     loss 2% in bursts of 4   1.98 % of 1190 pack...    1 190  research/github
    ok     others are not touched   nothing touched in ...        0  writing

    TIMES    first miss 8.9s after faults begin; research/github opens 11.8s after
             faults begin; research/github closes again 4.8s after faults end; calls
             research/github succeed again 4.8s after faults end
    CLEANUP  ok the host is as before, 1.1s after the end of the faults

    again    guardctl drill run drills/github-brownout.toml --seed 42
    exit 1 (deviated)
    ");
}

#[test]
fn inconclusive() {
    insta::assert_snapshot!(summary(&records::inconclusive(), 96), @"
    INCONCLUSIVE  github-brownout   60.3s   run 01JD8QK3
    no packet matched: 12 connections were idle

        STEADY STATE           BEFORE  DURING                    AFTER   LIMIT          FIRST MISS
    ?   writing success rate   99.6 %  ? 3 calls, 20 are needed  99.5 %  at least 95 %           -
    ok  research/github opens  -       open at +17.0 s           -       open                    -

    PROOF  ASKED                        MEASURED                         MATCHED  ON
    ?      latency 300ms +-50ms normal  no packet matched                      0  research/github
    ?      loss 2% in bursts of 4       no packet matched                      0  research/github
    ok     others are not touched       nothing touched in 88 412 calls        0  writing

    TIMES    research/github opens 11.8s after faults begin; research/github closes again 4.8s after
             faults end; calls research/github succeed again 4.8s after faults end
    CLEANUP  ok the host is as before, 1.1s after the end of the faults

    again    guardctl drill run drills/github-brownout.toml --seed 42
    exit 5 (inconclusive)
    ");
}

#[test]
fn interrupted_with_left_overs() {
    insta::assert_snapshot!(summary(&records::interrupted(), 96), @"
    CLEANUP INCOMPLETE  github-brownout   20.0s   run 01JD8QK3
    interrupted by SIGINT in the middle of the faults

        STEADY STATE          BEFORE  DURING  AFTER  LIMIT          FIRST MISS
    ok  writing success rate  99.6 %  -       -      at least 95 %           -

    PROOF  ASKED                        MEASURED                            MATCHED  ON
    ok     latency 300ms +-50ms normal  p50 301.2 p95 383.0 ms of 1190 ...    1 190  research/github
    ok     loss 2% in bursts of 4       1.98 % of 1190 packets (95 %: 1...    1 190  research/github
    x      others are not touched       2 packets or connects touched             2  writing

    TIMES    research/github opens 11.8s after faults begin
    CLEANUP  x left on this host:
             - nftables chain guard/delay_7
             - qdisc fq on eth0
             remove it: guardctl fault clear --all; where no guardd runs any more: guardctl cleanup

    again    guardctl drill run drills/github-brownout.toml --seed 42
    exit 3 (cleanup incomplete)
    ");
}

#[test]
fn empty() {
    insta::assert_snapshot!(summary(&records::empty(), 96), @"
    FAILED  github-brownout   0.0s   run 01JD8QK3
    no guardd answers

    no steady state was checked

    no fault was injected

    CLEANUP  ? guardd could not be asked; the kernel ends each fault at its deadline
             when guardd runs again: guardctl fault list

    again    guardctl drill run drills/github-brownout.toml --seed 42
    exit 5 (failed)
    ");
}

#[test]
fn the_first_word_says_how_it_ended() {
    let expected = [
        "HELD",
        "DEVIATED",
        "INCONCLUSIVE",
        "CLEANUP INCOMPLETE",
        "ABORTED",
        "FAILED",
        "INTERRUPTED",
        "FAILED",
        "CLEANUP INCOMPLETE",
    ];
    for ((name, record), expected) in records::all().iter().zip(expected) {
        let text = summary(record, 96);
        assert!(text.starts_with(&format!("{expected}  ")), "{name}\n{text}");
        assert!(text.ends_with(")\n"), "{name}\n{text}");
    }
}

#[test]
fn it_is_plain_ascii_and_controls_no_terminal() {
    for (name, record) in records::all() {
        let text = summary(&record, 96);
        let is_plain = |c: char| c == '\n' || (c.is_ascii() && !c.is_ascii_control());
        assert!(text.chars().all(is_plain), "{name}\n{text}");
        assert!(text.lines().all(|line| line == line.trim_end()), "{name}\n{text}");
    }
}
