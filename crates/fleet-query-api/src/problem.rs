//! Responses to requests that cannot be answered: RFC 9457.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};
use utoipa::ToSchema;

/// What is wrong: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Kind {
    /// There is no such parameter.
    UnknownParameter,
    /// A parameter has a value that cannot be used.
    InvalidParameter,
    /// No token, or one that is not valid.
    Unauthorized,
    /// The token lacks the scope.
    Forbidden,
    /// There is no such vehicle or path.
    NotFound,
    /// Only GET and HEAD are served.
    MethodNotAllowed,
    /// Neither JSON nor GeoJSON is acceptable.
    NotAcceptable,
    /// The token has too many requests in flight.
    TooManyRequests,
    /// The token has too many streams.
    TooManyStreams,
    /// All tokens together are at a bound.
    Overloaded,
    /// The fleet has not been read yet.
    Starting,
    /// The database does not respond, and the response needs it.
    DatabaseUnavailable,
}

impl Kind {
    /// Its name in problems and metric labels.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }

    fn status(self) -> StatusCode {
        match self {
            Self::UnknownParameter | Self::InvalidParameter => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::TooManyRequests | Self::TooManyStreams => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded | Self::Starting | Self::DatabaseUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::UnknownParameter => "Unknown parameter",
            Self::InvalidParameter => "Invalid parameter",
            Self::Unauthorized => "A valid bearer token is needed",
            Self::Forbidden => "The token lacks a scope",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::NotAcceptable => "Not acceptable",
            Self::TooManyRequests => "Too many requests",
            Self::TooManyStreams => "Too many streams",
            Self::Overloaded => "The service is at a bound",
            Self::Starting => "The service is starting",
            Self::DatabaseUnavailable => "The database is unavailable",
        }
    }
}

/// A request that cannot be answered, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    detail: String,
    /// The parameter that is wrong.
    parameter: Option<String>,
}

/// RFC 9457: why a request was not answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Identifies the kind of problem: `urn:fleet:problem:` and its name.
    #[serde(rename = "type")]
    kind: String,
    /// What the kind means.
    title: &'a str,
    /// The status of the response.
    status: u16,
    /// What is wrong, and what to do about it.
    detail: &'a str,
    /// The parameter of the query or the path that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    parameter: Option<&'a str>,
}

/// Longer names and values of clients are cut in responses.
const MAX_SHOWN: usize = 64;

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), parameter: None }
    }

    /// The value of `parameter` cannot be used.
    pub(crate) fn invalid(parameter: &str, detail: impl Into<String>) -> Self {
        Self { parameter: Some(parameter.to_owned()), ..Self::new(Kind::InvalidParameter, detail) }
    }

    /// There is no parameter of this name, but the `known` ones.
    pub(crate) fn unknown(parameter: &str, known: &[&str]) -> Self {
        let parameter: String = parameter.chars().take(MAX_SHOWN).collect();
        let detail = if known.is_empty() {
            format!("there is no parameter {parameter}; this path takes none")
        } else {
            format!("there is no parameter {parameter}; use {}", known.join(", "))
        };
        Self { parameter: Some(parameter), ..Self::new(Kind::UnknownParameter, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { kind, detail, parameter } = self;
        let status = kind.status();
        let body = ProblemBody {
            kind: format!("urn:fleet:problem:{}", kind.name()),
            title: kind.title(),
            status: status.as_u16(),
            detail: &detail,
            parameter: parameter.as_deref(),
        };
        // Serialising text into memory cannot fail.
        let body = serde_json::to_string(&body).unwrap_or_default();
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        match kind {
            Kind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"fleet\""));
            }
            Kind::Forbidden => {
                let challenge =
                    HeaderValue::from_static("Bearer realm=\"fleet\", error=\"insufficient_scope\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Kind::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Kind::TooManyRequests
            | Kind::TooManyStreams
            | Kind::Overloaded
            | Kind::Starting
            | Kind::DatabaseUnavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Kind::UnknownParameter | Kind::InvalidParameter | Kind::NotFound | Kind::NotAcceptable => {}
        }
        response.extensions_mut().insert(kind);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dashboards and clients know these names.
    #[test]
    fn names() {
        let names: Vec<_> = Kind::VARIANTS.iter().map(|kind| kind.name()).collect();
        let known = [
            "unknown_parameter",
            "invalid_parameter",
            "unauthorized",
            "forbidden",
            "not_found",
            "method_not_allowed",
            "not_acceptable",
            "too_many_requests",
            "too_many_streams",
            "overloaded",
            "starting",
            "database_unavailable",
        ];
        assert_eq!(names, known);
    }
}
