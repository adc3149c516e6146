//! Options of an application, in the words of each front end.

/// Options of an application, for those front ends that have other words for them than the daemon.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// `limits.timeout`, in seconds.
    pub timeout: Option<u32>,
    /// `limits.execution_timeout`, in seconds.
    pub execution_timeout: Option<f64>,
    /// `limits.memory`, in bytes.
    pub memory: Option<u64>,
    /// `limits.concurrency`.
    pub concurrency: Option<u32>,
    /// `instances`: `reuse`, then `concurrency`.
    pub instances: Option<(u32, u32)>,
    /// `authority`.
    pub authority: Option<&'a str>,
    /// `access.outbound_http`.
    pub outbound_http: &'a [&'a str],
}

impl Options<'_> {
    /// As members of an application, in the daemon's configuration.
    #[must_use]
    pub fn members(&self) -> String {
        let limits = [
            self.timeout.map(|it| format!(r#""timeout": {it}"#)),
            self.execution_timeout
                .map(|it| format!(r#""execution_timeout": {it}"#)),
            self.memory.map(|it| format!(r#""memory": {it}"#)),
            self.concurrency.map(|it| format!(r#""concurrency": {it}"#)),
        ];
        let limits: Vec<String> = limits.into_iter().flatten().collect();
        let grants: Vec<String> = self
            .outbound_http
            .iter()
            .map(|it| format!("{it:?}"))
            .collect();
        let mut members = vec![
            format!(r#""limits": {{{}}}"#, limits.join(", ")),
            format!(r#""instances": {}"#, self.instances()),
            format!(r#""access": {{"outbound_http": [{}]}}"#, grants.join(", ")),
        ];
        members.extend(self.authority.map(|it| format!(r#""authority": {it:?}"#)));
        members.join(", ")
    }

    /// As the module for Unit reads them out of the `environment`.
    #[must_use]
    pub fn environment(&self) -> String {
        let variables = [
            ("TIMEOUT", self.timeout.map(|it| it.to_string())),
            (
                "EXECUTION_TIMEOUT",
                self.execution_timeout.map(|it| it.to_string()),
            ),
            ("MEMORY", self.memory.map(|it| it.to_string())),
            ("CONCURRENCY", self.concurrency.map(|it| it.to_string())),
            ("INSTANCES", self.instances.map(|_| self.instances())),
            ("AUTHORITY", self.authority.map(str::to_owned)),
            ("OUTBOUND_HTTP", Some(self.outbound_http.join(" "))),
        ];
        let variables: Vec<String> = variables
            .into_iter()
            .filter_map(|(name, value)| Some(format!(r#""NXT_WASMTIME_{name}": {:?}"#, value?)))
            .collect();
        format!(r#""environment": {{{}}}"#, variables.join(", "))
    }

    fn instances(&self) -> String {
        self.instances.map_or_else(
            || "{}".to_owned(),
            |(reuse, concurrency)| format!(r#"{{"reuse": {reuse}, "concurrency": {concurrency}}}"#),
        )
    }
}
