//! Which part of the earth, or which vehicles, a request asks for.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::parameters::Parameters;
use crate::fleet::geometry::{Bounds, Circle, LONGEST_DISTANCE_M, Point};
use crate::problem::Problem;

/// Most vehicles in `ids`. With more, a request's head would have more than the 16 KiB that the listener accepts.
const MAX_IDS: usize = 400;

/// Where the vehicles are, or which ones.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Area {
    /// Anywhere, also without a position.
    Everywhere,
    /// In a box.
    Bounds(Bounds),
    /// Around a point, nearest first.
    Near(Circle),
    /// These, wherever they are.
    Ids(BTreeSet<Uuid>),
}

impl Area {
    pub(crate) fn parse(parameters: &Parameters) -> Result<Self, Problem> {
        let given = ["bbox", "near", "ids"].map(|name| parameters.text(name).map(|value| (name, value)));
        let mut given = given.into_iter().flatten();
        let (first, second) = (given.next(), given.next());
        if let (Some((first, _)), Some((second, _))) = (first, second) {
            return Err(Problem::invalid(
                second,
                format!("cannot be combined with {first}; use one of them"),
            ));
        }
        let is_near = first.is_some_and(|(name, _value)| name == "near");
        if parameters.text("radius_m").is_some() != is_near {
            return Err(Problem::invalid("radius_m", "is needed with near, and only with it"));
        }
        match first {
            Some(("bbox", value)) => bounds(value).map(Self::Bounds),
            Some(("near", value)) => circle(value, parameters).map(Self::Near),
            Some((_ids, value)) => ids(value).map(Self::Ids),
            None => Ok(Self::Everywhere),
        }
    }
}

fn numbers<const N: usize>(text: &str) -> Option<[f64; N]> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    numbers?.try_into().ok()
}

fn is_latitude(degrees: f64) -> bool {
    (-90.0..=90.0).contains(&degrees)
}

fn is_longitude(degrees: f64) -> bool {
    (-180.0..=180.0).contains(&degrees)
}

fn bounds(text: &str) -> Result<Bounds, Problem> {
    let bounds = numbers(text).map(|[west, south, east, north]| Bounds { west, south, east, north });
    let is_valid = |bounds: &Bounds| {
        let Bounds { west, south, east, north } = *bounds;
        is_longitude(west) && is_longitude(east) && is_latitude(south) && is_latitude(north) && south <= north
    };
    bounds.filter(is_valid).ok_or_else(|| {
        let detail = "must be west,south,east,north in degrees, with south below north; west is greater than east if the box \
                      contains the antimeridian";
        Problem::invalid("bbox", detail)
    })
}

fn circle(text: &str, parameters: &Parameters) -> Result<Circle, Problem> {
    let centre = numbers(text).map(|[lat, lon]| Point { lat, lon });
    let centre = centre.filter(|centre| is_latitude(centre.lat) && is_longitude(centre.lon));
    let centre = centre.ok_or_else(|| Problem::invalid("near", "must be lat,lon in degrees"))?;
    let radius_m = parameters.number("radius_m", 0.0, LONGEST_DISTANCE_M.ceil())?.unwrap_or_default();
    Ok(Circle { centre, radius_m })
}

fn ids(text: &str) -> Result<BTreeSet<Uuid>, Problem> {
    let ids: Option<BTreeSet<_>> = text.split(',').map(|id| id.trim().parse::<Uuid>().ok()).collect();
    ids.filter(|ids| ids.len() <= MAX_IDS).ok_or_else(|| {
        Problem::invalid(
            "ids",
            format!("must be the vehicle_id of at most {MAX_IDS} vehicles, separated by commas"),
        )
    })
}
