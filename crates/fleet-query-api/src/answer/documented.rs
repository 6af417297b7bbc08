//! What the OpenAPI document says about parameters and problems.

use jiff::Timestamp;
use utoipa::{IntoParams, IntoResponses};

use crate::problem::ProblemBody;

/// The conditions on vehicles. All of them must hold.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes the parameters, which `Filter` reads")]
pub(crate) struct FilterParameters {
    /// `west,south,east,north` in degrees: vehicles in this box. If west is greater than east, the box contains the antimeridian.
    /// Not together with `near` or `ids`.
    /// `south` must not be greater than `north`.
    #[param(
        example = "13.30,52.45,13.50,52.60",
        pattern = "^-?(180(\\.0+)?|(1[0-7]|[0-9])?[0-9](\\.[0-9]+)?),-?(90(\\.0+)?|[0-8]?[0-9](\\.[0-9]+)?),-?(180(\\.0+)?|(1[0-7]|[0-9])?[0-9](\\.[0-9]+)?),-?(90(\\.0+)?|[0-8]?[0-9](\\.[0-9]+)?)$"
    )]
    bbox: Option<String>,
    /// `lat,lon` in degrees: vehicles around this point, nearest first. Needs `radius_m`.
    /// Not together with `bbox` or `ids`.
    #[param(
        pattern = "^-?(90(\\.0+)?|[0-8]?[0-9](\\.[0-9]+)?),-?(180(\\.0+)?|(1[0-7]|[0-9])?[0-9](\\.[0-9]+)?)$"
    )]
    near: Option<String>,
    /// The radius around `near`, metres. Only together with `near`.
    #[param(minimum = 0, maximum = 20_015_115)]
    radius_m: Option<f64>,
    /// Up to 400 values of `vehicle_id`, separated by commas. Not together with `bbox` or `near`.
    #[param(
        pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(,[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}){0,399}$"
    )]
    ids: Option<String>,
    /// One or more of niu, segway, invers, separated by commas.
    #[param(pattern = "^(niu|segway|invers)(,(niu|segway|invers))*$")]
    provider: Option<String>,
    /// Whether the vehicle has a connection to its provider.
    online: Option<bool>,
    /// Whether the vehicle is locked.
    locked: Option<bool>,
    /// Whether the electronics or the ignition are on.
    powered_on: Option<bool>,
    /// Whether the traction battery is charging.
    charging: Option<bool>,
    /// Vehicles with at most this charge, percent.
    #[param(minimum = 0, maximum = 100)]
    battery_lte: Option<f64>,
    /// Vehicles with at least this charge, percent.
    #[param(minimum = 0, maximum = 100)]
    battery_gte: Option<f64>,
    /// Vehicles with a webhook within this time: a whole number and s, m, h or d, at most 366d.
    #[param(
        example = "10m",
        pattern = "^([1-9][0-9]{0,6}s|[1-9][0-9]{0,4}m|([1-9][0-9]{0,2}|[1-7][0-9]{3}|8[0-6][0-9]{2}|87[0-7][0-9]|878[0-4])h|([1-9][0-9]?|[12][0-9]{2}|3[0-5][0-9]|36[0-6])d)$"
    )]
    seen_within: Option<String>,
    /// Vehicles with a position that is at most this old, as for `seen_within`.
    #[param(
        example = "5m",
        pattern = "^([1-9][0-9]{0,6}s|[1-9][0-9]{0,4}m|([1-9][0-9]{0,2}|[1-7][0-9]{3}|8[0-6][0-9]{2}|87[0-7][0-9]|878[0-4])h|([1-9][0-9]?|[12][0-9]{2}|3[0-5][0-9]|36[0-6])d)$"
    )]
    position_within: Option<String>,
}

/// Which page of a response.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes the parameters, which `Parameters` reads")]
pub(crate) struct PageParameters {
    /// Most items in the response; the settings of the service bound it.
    #[param(minimum = 1, default = 1000)]
    limit: Option<u32>,
    /// The `after` of an earlier response to the same query, which is opaque.
    #[param(pattern = "^[die][0-9a-f]{64}$")]
    after: Option<String>,
}

/// Which part of a track.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes the parameters, which `track` reads")]
pub(crate) struct TrackParameters {
    /// The earliest time: before `to`, by at most the span that the settings of the service allow. Without it: one hour before `to`.
    from: Option<Timestamp>,
    /// The time after the latest one. Without it: now.
    to: Option<Timestamp>,
}

/// The problems of every request.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes the responses that `Problem` makes")]
pub(crate) enum Problems {
    /// A parameter is unknown or has a value that cannot be used.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(#[to_schema] ProblemBody<'static>),
    /// A valid bearer token is needed.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] ProblemBody<'static>),
    /// The token lacks a scope.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] ProblemBody<'static>),
    /// Neither JSON nor GeoJSON is acceptable.
    #[response(status = 406, content_type = "application/problem+json")]
    NotAcceptable(#[to_schema] ProblemBody<'static>),
    /// The token has too many requests or streams.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(#[to_schema] ProblemBody<'static>),
    /// The service is starting or at a bound, or the database that the response needs is unavailable.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] ProblemBody<'static>),
}

/// The problems of a request for one vehicle.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes the responses that `Problem` makes")]
pub(crate) enum VehicleProblems {
    /// A parameter is unknown or has a value that cannot be used.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(#[to_schema] ProblemBody<'static>),
    /// A valid bearer token is needed.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] ProblemBody<'static>),
    /// The token lacks a scope.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] ProblemBody<'static>),
    /// There is no such vehicle.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] ProblemBody<'static>),
    /// Neither JSON nor GeoJSON is acceptable.
    #[response(status = 406, content_type = "application/problem+json")]
    NotAcceptable(#[to_schema] ProblemBody<'static>),
    /// The token has too many requests.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(#[to_schema] ProblemBody<'static>),
    /// The service is starting or at a bound, or the database that the response needs is unavailable.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] ProblemBody<'static>),
}
