//! Charts of every record are well-formed, and show what there is.

use super::super::charts::{breakers, latency, success};
use super::{records, xml};

#[test]
fn every_chart_of_every_record_is_an_svg() {
    for (name, record) in records::all() {
        for (chart, text) in [
            ("success", success(&record)),
            ("latency", latency(&record)),
            ("breakers", breakers(&record)),
        ] {
            let text = text.unwrap();
            xml::check(&text).unwrap_or_else(|error| panic!("{chart} of {name}: {error}\n{text}"));
            assert!(text.starts_with("<svg ") && text.contains("xmlns"), "{chart} of {name}");
            assert!(!text.contains("NaN") && !text.contains("inf"), "{chart} of {name}:\n{text}");
        }
    }
}

#[test]
fn a_chart_has_title_axes_legend_and_grey_faults() {
    let text = success(&records::held()).unwrap();
    for part in [
        "Calls that succeeded: github-brownout, run 01JD8QK3",
        "seconds since the start",
        "share of calls, %",
        "research/github",
        "writing/api",
        "a fault acts",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // Two faults at the same time are one grey box; the other is the legend's.
    assert_eq!(text.matches("opacity=\"0.1\" fill=\"#000000\"").count(), 2, "{text}");
}

#[test]
fn latencies_far_apart_get_powers_of_ten() {
    let mut record = records::held();
    assert!(latency(&record).unwrap().contains("logarithmic"));
    for pair in record.samples.iter_mut().flat_map(|sample| &mut sample.pairs) {
        pair.p95_seconds = pair.p95_seconds.map(|_| 0.1);
    }
    let text = latency(&record).unwrap();
    assert!(text.contains("milliseconds") && !text.contains("logarithmic"), "{text}");
}

#[test]
fn breakers_have_a_row_each_with_named_states() {
    let text = breakers(&records::held()).unwrap();
    for word in ["closed", "half open", "open"] {
        assert_eq!(text.matches(&format!("\n{word}\n")).count(), 2, "{word}\n{text}");
    }
}

#[test]
fn without_samples_a_chart_says_so() {
    let record = records::empty();
    assert!(success(&record).unwrap().contains("no calls were seen"));
    assert!(breakers(&record).unwrap().contains("no breaker was seen"));
}

#[test]
fn many_pairs_fit() {
    let mut record = records::held();
    for sample in &mut record.samples {
        let pair = sample.pairs[0].clone();
        sample.pairs = (0..40)
            .map(|at| {
                let mut pair = pair.clone();
                pair.service = format!("service-{at}");
                pair
            })
            .collect();
    }
    xml::check(&breakers(&record).unwrap()).unwrap();
    assert!(success(&record).unwrap().contains("and 12 more"));
}
