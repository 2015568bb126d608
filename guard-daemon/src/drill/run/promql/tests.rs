//! Requests as they are sent, and answers as Prometheus gives them.

use super::*;

fn of(body: &str) -> Result<Answer, String> {
    read(200, body.as_bytes())
}

fn vector(samples: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{samples}]}}}}"#)
}

fn query(prometheus: &str, promql: &str) -> Query {
    let timeout = std::time::Duration::from_secs(5);
    Query { prometheus: prometheus.into(), promql: promql.into(), timeout }
}

#[test]
fn an_expression_is_one_word_of_the_request() {
    let asked = |prometheus, promql| url(&query(prometheus, promql));
    let base = "http://127.0.0.1:9090";
    assert_eq!(
        asked(base, "sum(rate(a{code=~\"5..\"}[1m])) > 2 & é+%#"),
        "http://127.0.0.1:9090/api/v1/query?query=\
         sum%28rate%28a%7Bcode%3D%7E%225..%22%7D%5B1m%5D%29%29+%3E+2+%26+%C3%A9%2B%25%23"
    );
    assert_eq!(asked("http://a/b/", "up"), "http://a/b/api/v1/query?query=up");
}

#[test]
fn one_number_is_read() {
    let scalar =
        r#"{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"0.5"]}}"#;
    assert_eq!(of(scalar), Ok(Answer::Number(0.5)));
    let one = r#"{"metric":{"job":"a"},"value":[1,"-3e-2"]}"#;
    assert_eq!(of(&vector(one)), Ok(Answer::Number(-0.03)));
    let infinite = r#"{"metric":{},"value":[1,"+Inf"]}"#;
    assert_eq!(of(&vector(infinite)), Ok(Answer::Number(f64::INFINITY)));
    let nan = of(&vector(r#"{"metric":{},"value":[1,"NaN"]}"#)).unwrap();
    assert!(matches!(nan, Answer::Number(value) if value.is_nan()));
    assert_eq!(of(&vector("")), Ok(Answer::Nothing));
}

#[test]
fn whatever_is_not_one_number_is_said() {
    let one = r#"{"metric":{},"value":[1,"1"]}"#;
    let typed = |name: &str| {
        format!(r#"{{"status":"success","data":{{"resultType":"{name}","result":[]}}}}"#)
    };
    let cases = [
        (vector(&format!("{one},{one}")), "gives 2 samples: aggregate it"),
        (vector(r#"{"metric":{},"histogram":[1,{}]}"#), "histogram_quantile()"),
        (vector(r#"{"metric":{},"value":[1,1]}"#), "a sample without a number"),
        (vector(r#"{"metric":{}}"#), "a sample without a number"),
        (typed("matrix"), "avg_over_time()"),
        (typed("string"), "gives a string, which is no number"),
        (r#"{"status":"success"}"#.into(), "has no data"),
        (
            r#"{"status":"error","errorType":"bad_data","error":"parse\nerror"}"#.into(),
            "Prometheus: bad_data: parse error",
        ),
        ("<html>".into(), "status 200, and not an answer of Prometheus' API"),
        (String::new(), "status 200, and not an answer"),
    ];
    for (body, words) in cases {
        let said = of(&body).unwrap_err();
        assert!(said.contains(words), "{body}: {said}");
    }
    let long = format!(r#"{{"status":"error","error":"{}"}}"#, "e".repeat(5000));
    assert!(of(&long).unwrap_err().len() < 400);
}

/// A server whose answers nobody should wait for or keep.
#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let long = || async { "x".repeat(MOST_BYTES + 1) };
    let never = || async { std::future::pending::<&str>().await };
    let app = axum::Router::new()
        .route("/long/api/v1/query", axum::routing::get(long))
        .route("/never/api/v1/query", axum::routing::get(never));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut asked = query(&format!("http://{address}/long"), "up");
    let Answer::Failed(why) = ask(&asked).await else { panic!("an answer") };
    assert_eq!(why, "the answer is longer than 1048576 bytes");
    asked.prometheus = format!("http://{address}/never");
    asked.timeout = std::time::Duration::from_millis(50);
    let Answer::Failed(why) = ask(&asked).await else { panic!("an answer") };
    assert_eq!(why, "no answer of Prometheus within 50ms");
    server.abort();
}
