//! Answers as servers give them, and what is none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

type Seen = (Vec<(String, String)>, String, i64);

fn seen(body: &[u8], most: usize) -> Result<Vec<Seen>, AnswerError> {
    let mut seen = Vec::new();
    read(body, most, &mut |series| {
        let labels = series.labels.iter();
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        seen.push((labels.collect(), series.value.to_string(), series.at));
    })?;
    Ok(seen)
}

fn vector(result: &serde_json::Value) -> Vec<u8> {
    let answer = json!({"status": "success", "data": {"resultType": "vector", "result": result}});
    answer.to_string().into_bytes()
}

#[test]
fn a_vector_is_read() {
    let body = vector(&json!([
        {"metric": {"instance": "192.0.2.1:9100", "node": "a\"b\n"}, "value": [1_700_000_000.123, "7.5"]},
        {"metric": {}, "value": [1_700_000_000, "NaN"]},
        {"metric": {"le": "+Inf"}, "value": [1_700_000_000, "+Inf"]},
    ]));
    let labels = |labels: &[(&str, &str)]| -> Vec<(String, String)> {
        labels
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    };
    assert_eq!(
        seen(&body, 3).unwrap(),
        [
            (
                labels(&[("instance", "192.0.2.1:9100"), ("node", "a\"b\n")]),
                "7.5".to_owned(),
                1_700_000_000_123
            ),
            (labels(&[]), "NaN".to_owned(), 1_700_000_000_000),
            (labels(&[("le", "+Inf")]), "inf".to_owned(), 1_700_000_000_000),
        ]
    );
    assert_eq!(seen(&body, 2).unwrap_err(), AnswerError::TooManySeries(2));
    for cut in 0..body.len() {
        assert!(
            matches!(seen(&body[..cut], 3), Err(AnswerError::NotOne(_))),
            "the first {cut} bytes are taken for an answer"
        );
    }
}

#[test]
fn what_it_is_may_be_said_afterwards() {
    let body = br#"{"data": {"result": [{"metric": {}, "value": [1, "2"]}], "resultType": "vector"}, "status": "success"}"#;
    assert_eq!(seen(body, 9).unwrap(), [(Vec::new(), "2".to_owned(), 1_000)]);
    let body = br#"{"data": {"result": [1, "2"], "resultType": "scalar"}, "status": "success"}"#;
    assert!(matches!(seen(body, 9), Err(AnswerError::NotAVector(_))));
    assert!(matches!(seen(b"{} {}", 9), Err(AnswerError::NotOne(_))));
}

#[rstest]
#[case::failed(
    json!({"status": "error", "errorType": "timeout", "error": "query timed out"}),
    "timeout: query timed out"
)]
#[case::warned(
    json!({"status": "success", "data": {"resultType": "vector", "result": []}, "warnings": ["store down", "b"]}),
    "store down"
)]
#[case::partial(
    json!({"status": "success", "isPartial": true, "data": {"resultType": "vector", "result": []}}),
    "isPartial"
)]
#[case::matrix(
    json!({"status": "success", "data": {"resultType": "matrix", "result": []}}),
    "a matrix instead of a vector"
)]
#[case::scalar(
    json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}}),
    "a scalar instead of a vector"
)]
#[case::histogram(
    json!({"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {}, "histogram": [1, {"count": "1"}]}
    ]}}),
    "a native histogram instead of a vector"
)]
#[case::no_data(json!({"status": "success"}), "no answer of Prometheus: it has no data")]
#[case::null(json!({"status": "error", "data": null, "errorType": "bad_data", "error": "no"}), "bad_data: no")]
fn an_answer_that_says_nothing_says_why(#[case] answer: serde_json::Value, #[case] why: &str) {
    assert_eq!(
        seen(answer.to_string().as_bytes(), 9).unwrap_err().to_string(),
        why
    );
}

#[rstest]
#[case::login("<html>log in</html>".as_bytes())]
#[case::number(&vector(&json!([{"metric": {}, "value": [1, 7.5]}])))]
#[case::word(&vector(&json!([{"metric": {}, "value": [1, "many"]}])))]
#[case::no_value(&vector(&json!([{"metric": {}}])))]
#[case::time(&vector(&json!([{"metric": {}, "value": [-1, "1"]}])))]
#[case::label(&vector(&json!([{"metric": {"a": 1}, "value": [1, "1"]}])))]
#[case::label_twice(
    br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"1","a":"2"},"value":[1,"1"]}]}}"#
)]
#[case::nothing(b"{}")]
#[case::another_api(br#"{"message":"no upstream","code":502}"#)]
#[case::no_result(br#"{"status":"success","data":{"resultType":"vector"}}"#)]
#[case::two_warnings(
    br#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["store down"],"warnings":null}"#
)]
#[case::two_results(br#"{"status":"success","data":{"resultType":"vector","result":[],"result":[]}}"#)]
#[case::two_types(
    br#"{"status":"success","data":{"resultType":"matrix","result":[1],"resultType":"vector"}}"#
)]
fn what_is_no_answer_is_none(#[case] body: &[u8]) {
    let error = seen(body, 9).unwrap_err();
    assert!(matches!(error, AnswerError::NotOne(_)), "{error}");
}

#[test]
fn the_infos_of_an_answer_are_no_reason_to_doubt_it() {
    let body = br#"{"status":"success","infos":["metric might not be a counter"],"warnings":null,
        "data":{"result":[],"resultType":"vector"}}"#;
    assert_eq!(seen(body, 9).unwrap(), []);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(at in 0_usize..200, bytes in prop::collection::vec(any::<u8>(), 0..8)) {
        let mut body = vector(&json!([{"metric": {"a": "\u{e9}"}, "value": [1, "1"]}]));
        let at = at.min(body.len());
        let end = (at + bytes.len()).min(body.len());
        body.splice(at..end, bytes);
        let _ = seen(&body, 9);
    }
}
