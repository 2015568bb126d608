//! `junit.xml` of every record is well-formed, and red where the exit code is not 0.

use super::super::junit::text;
use super::{records, xml};

#[test]
fn every_record_gives_a_file_that_agrees_with_its_exit_code() {
    for (name, record) in records::all() {
        let text = text(&record).unwrap();
        xml::check(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        let is_green = text.contains("failures=\"0\" errors=\"0\"");
        assert_eq!(is_green, record.exit_code == 0, "{name}\n{text}");
        let cases = 2 + record.checks.len() + record.proof.len() + record.collateral.len();
        assert_eq!(text.matches("<testcase ").count(), cases, "{name}\n{text}");
    }
}

#[test]
fn what_was_missed_says_how_and_what_cannot_be_told_is_skipped() {
    let missed = text(&records::deviated()).unwrap();
    let message = "93.8 % of 1510 calls, limit at least 95 %, first missed at 14.1 s";
    assert!(missed.contains(message), "{missed}");
    assert!(missed.contains("classname=\"github-brownout.steady_state\""), "{missed}");
    let unknown = text(&records::inconclusive()).unwrap();
    assert_eq!(unknown.matches("<skipped ").count(), 3, "{unknown}");
    assert!(unknown.contains("cannot be told: 3 calls, 20 are needed"), "{unknown}");
    let left = text(&records::interrupted()).unwrap();
    assert!(left.contains("left over: nftables chain guard/delay_7; qdisc fq on eth0"), "{left}");
}
