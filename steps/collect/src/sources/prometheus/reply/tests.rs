use super::*;

fn reply(values: &str) -> Result<Reply, ReplyError> {
    parse(
        format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{}},"values":{values}}}]}}}}"#
        )
        .as_bytes(),
    )
}

#[test]
fn values_are_texts_and_may_be_no_finite_numbers() {
    let reply = reply(r#"[[1,"NaN"],[2.5,"+Inf"],[3,"-Inf"],[4,"1e-3"]]"#).unwrap();
    let points = &reply.series[0].points;
    assert!(points[0].value.is_nan());
    assert!(points[1].time_ms == 2500 && points[1].value.is_infinite());
    assert!(points[2].value.is_infinite() && points[2].value < 0.0);
    assert!((points[3].value - 0.001).abs() < f64::EPSILON);
}

#[test]
fn warnings_and_infos_are_kept_and_may_be_null() {
    let body = br#"{"status":"success","data":{"resultType":"matrix","result":[]},"warnings":["w"],"infos":null}"#;
    let reply = parse(body).unwrap();
    assert_eq!((reply.warnings, reply.infos), (vec!["w".to_owned()], vec![]));
}

#[test]
fn empty_answers_of_other_servers_hold_no_series() {
    for data in [
        r#"{"resultType":"matrix","result":null}"#,
        r#"{"resultType":"","result":[]}"#,
        r#"{"resultType":"","result":null}"#,
        r#"{"result":null}"#,
    ] {
        let body = format!(r#"{{"status":"success","data":{data}}}"#);
        assert_eq!(parse(body.as_bytes()).unwrap(), Reply::default(), "{data}");
    }
    let vector = r#"{"status":"success","data":{"resultType":"","result":[{"metric":{}}]}}"#;
    assert!(matches!(parse(vector.as_bytes()), Err(ReplyError::Foreign(_))));
}

#[test]
fn incomplete_answers_name_missing_parts() {
    let lacks = |extra: &str| {
        let body = format!(
            r#"{{"status":"success",{extra}"data":{{"resultType":"matrix","result":[]}}}}"#
        );
        parse(body.as_bytes()).unwrap().lacks()
    };
    assert_eq!(lacks(""), None);
    assert_eq!(lacks(r#""isPartial":false,"#), None);
    assert_eq!(lacks(r#""isPartial":null,"#), None);
    assert!(lacks(r#""isPartial":true,"#).unwrap().contains("isPartial"));
    assert_eq!(lacks(r#""warnings":["store a is down"],"#).unwrap(), "store a is down");
    assert_eq!(lacks(r#""warnings":["PromQL warning: bucket order"],"#), None);
}

#[test]
fn replies_of_time_ranges_are_merged() {
    let with = |labels: &[(&str, &str)], points: &[(i64, f64)]| Reply {
        series: vec![Series::new(labels, points)],
        ..Reply::default()
    };
    let mut reply = with(&[("a", "x")], &[(1, 1.0)]);
    reply.append(Reply::default());
    reply.append(with(&[("a", "y")], &[(2, 2.0)]));
    reply.append(with(&[("a", "x")], &[(3, 3.0)]));
    assert_eq!(reply.series[0], Series::new(&[("a", "x")], &[(1, 1.0), (3, 3.0)]));
    assert_eq!(reply.series[1], Series::new(&[("a", "y")], &[(2, 2.0)]));
}

#[test]
fn reply_without_matrix_is_described_in_the_error() {
    for (body, passing, part) in [
        ("", true, "cut"),
        (r#"{"status":"success","data":{"resultType":"mat"#, true, "cut"),
        ("<!doctype html><html>", false, "web page"),
        ("[1,2]", false, "query_range"),
        (r#"{"status":"success"}"#, false, "no `data`"),
        (
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"2"]}]}}"#,
            false,
            "`vector`",
        ),
        (
            r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#,
            false,
            "`scalar`",
        ),
        (r#"{"status":"error","errorType":"bad_data","error":"oops"}"#, false, "bad_data: oops"),
        (r#"{"status":"error","errorType":"timeout","error":"slow"}"#, true, "timeout: slow"),
    ] {
        let error = parse(body.as_bytes()).unwrap_err();
        assert_eq!(error.may_pass(), passing, "{body}");
        assert!(error.to_string().contains(part), "{body}: {error}");
    }
}

#[test]
fn points_of_another_shape_are_refused() {
    for values in [
        "[[1,2]]",
        r#"[[1,"x"]]"#,
        r#"[["1","2"]]"#,
        "[[1]]",
        r#"[[1,"2",3]]"#,
        "[1]",
        r#"[[1e300,"1"]]"#,
    ] {
        assert!(matches!(reply(values), Err(ReplyError::Foreign(_))), "{values}");
    }
}

#[test]
fn foreign_text_becomes_one_short_line() {
    assert_eq!(one_line("a\n\tb\u{1b}[31m"), "a b [31m");
    assert_eq!(one_line(&"ä".repeat(400)).chars().count(), 303);
}
