//! `/status/metrics`, read by the rules of Prometheus' text format 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{HOSTILE, start};

type Labels = Vec<(String, String)>;

/// One metric, with all of its samples.
struct Metric {
    kind: String,
    samples: BTreeMap<Labels, f64>,
}

/// Reads the whole text, and panics at whatever the format does not allow.
fn parse(text: &str) -> BTreeMap<String, Metric> {
    assert!(text.ends_with('\n'), "the last line has its end");
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(
                !words.is_empty() && helped.insert(name.to_owned()),
                "{line}"
            );
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let metric = Metric {
                kind: kind.to_owned(),
                samples: BTreeMap::new(),
            };
            assert!(metrics.insert(name.to_owned(), metric).is_none(), "{line}");
            name.clone_into(&mut current);
        } else {
            let (name, labels, value) = sample(line);
            assert_eq!(name, current, "samples stand behind their type: {line}");
            let samples = &mut metrics.get_mut(&name).unwrap().samples;
            assert!(samples.insert(labels, value).is_none(), "twice: {line}");
        }
    }
    assert_eq!(helped, metrics.keys().cloned().collect());
    metrics
}

fn is_name(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit())
}

fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (label, behind) = inner.split_once("=\"").unwrap();
            assert!(is_name(label), "{line}");
            let (value, behind) = quoted(behind);
            labels.push((label.to_owned(), value));
            if let Some(end) = behind.strip_prefix('}') {
                rest = end;
                break;
            }
            inner = behind.strip_prefix(',').unwrap();
        }
    }
    let value = rest.strip_prefix(' ').unwrap().parse().unwrap();
    (name.to_owned(), labels, value)
}

/// A label's value, and what follows its closing quote.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next().unwrap() {
            '"' => return (value, rest.as_str()),
            '\\' => value.push(match rest.next().unwrap() {
                'n' => '\n',
                literal @ ('\\' | '"') => literal,
                other => panic!("no escape: \\{other}"),
            }),
            other => value.push(other),
        }
    }
}

fn labels(labels: &[(&str, &str)]) -> Labels {
    let owned = labels.iter();
    owned
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn prometheus_can_read_the_metrics() {
    let (_directory, server) = start();
    for target in ["/status/metrics", "/status/metrics/"] {
        let answer = server.get(target).await;
        assert_eq!(answer.status, 200);
        let media_type = "\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n";
        assert!(answer.head.contains(media_type), "{}", answer.head);
        let metrics = parse(&answer.body);
        let value = |name: &str, wanted: &[(&str, &str)]| {
            let metric = &metrics[name];
            metric.samples[&labels(wanted)]
        };
        for (name, with, expected) in [
            ("build_info", &[("version", "0.1.0")][..], 1.0),
            ("connections", &[("state", "active")], 1.0),
            ("connections", &[("state", "idle")], 2.0),
            ("connections_accepted_total", &[], 5.0),
            ("connections_closed_total", &[], 2.0),
            ("requests_total", &[], 7.0),
            ("instances", &[], 2.0),
            ("instances_limit", &[], 16.0),
            ("instances_pooled", &[], 1.0),
            ("instances_memory_bytes", &[], 3.0),
            ("instances_memory_limit_bytes", &[], 1_073_741_824.0),
            ("epoch_ticks_total", &[], 9.0),
            ("held_for_clients_bytes", &[], 11.0),
            ("held_for_clients_limit_bytes", &[], 12.0),
            ("connections_ended_for_held_data_total", &[], 13.0),
        ] {
            let name = format!("wasmtime_unitd_{name}");
            assert_eq!(value(&name, with), expected, "{name}");
        }
        assert_eq!(value("process_resident_memory_bytes", &[]), 4096.0);
        assert_eq!(value("process_cpu_seconds_total", &[]), 1.5);
        assert_eq!(value("process_start_time_seconds", &[]), 1.7e9);
        assert_eq!(metrics["wasmtime_unitd_instances"].kind, "gauge");
    }
}

#[tokio::test]
async fn each_application_has_its_metrics_whatever_its_name() {
    let (_directory, server) = start();
    let metrics = parse(&server.get("/status/metrics").await.body);
    for (name, value) in [
        ("loaded", 1.0),
        ("requests", 1.0),
        ("instances", 1.0),
        ("instances_started_total", 8.0),
        ("memory_bytes", 3.0),
        ("memory_peak_bytes", 6.0),
        ("open_files", 4.0),
        ("execution_seconds_total", 2.0005),
        ("responses_cut_off_total", 1.0),
    ] {
        let samples = &metrics[&format!("wasmtime_unitd_application_{name}")].samples;
        let expected = [
            (labels(&[("application", HOSTILE)]), 0.0),
            (labels(&[("application", "a/b")]), value),
        ];
        assert_eq!(*samples, BTreeMap::from(expected), "{name}");
    }
    for (name, label, which, value) in [
        ("responses_total", "class", "2xx", 5.0),
        ("responses_total", "class", "5xx", 2.0),
        ("failures_total", "kind", "trap", 2.0),
        ("failures_total", "kind", "busy", 0.0),
    ] {
        let samples = &metrics[&format!("wasmtime_unitd_application_{name}")].samples;
        let wanted = labels(&[("application", "a/b"), (label, which)]);
        assert_eq!(samples[&wanted], value, "{name} {which}");
    }
}

#[tokio::test]
async fn answers_are_rendered_off_the_serving_threads() {
    let (_directory, server) = start();
    let serving = std::thread::current().id();
    for target in ["/", "/status", "/status/requests/total", "/status/metrics"] {
        assert_eq!(server.get(target).await.status, 200);
        let rendered = server.notes.asked_on().unwrap();
        assert_ne!(rendered, serving, "{target}");
    }
}
