//! Areas on the earth, which counts as a sphere: distances are wrong by up to 0.6 %.

/// Mean radius, metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// The longest distance between two points, metres.
pub(crate) const LONGEST_DISTANCE_M: f64 = EARTH_RADIUS_M * std::f64::consts::PI;

/// Rounding must not exclude a point at the rim, degrees.
const ROUNDING: f64 = 1e-9;

/// A point, degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) lat: f64,
    pub(crate) lon: f64,
}

impl Point {
    /// Metres to another point along a great circle, by the haversine formula, which is exact for short distances.
    pub(crate) fn distance_m(self, other: Self) -> f64 {
        let (from, to) = (self.lat.to_radians(), other.lat.to_radians());
        let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let chord = half(other.lat - self.lat) + from.cos() * to.cos() * half(other.lon - self.lon);
        2.0 * EARTH_RADIUS_M * chord.sqrt().min(1.0).asin()
    }
}

/// A box between two meridians and two parallels, degrees. If `west` is greater than `east`, it contains the antimeridian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) west: f64,
    pub(crate) south: f64,
    pub(crate) east: f64,
    pub(crate) north: f64,
}

impl Bounds {
    /// Whether the point is in the box or on its rim.
    pub(crate) fn contains(&self, point: Point) -> bool {
        // -180 and 180 are the same meridian.
        let is_antimeridian = point.lon.abs() >= 180.0;
        let is_between = self.has_longitude(point.lon)
            || (is_antimeridian && (self.has_longitude(-180.0) || self.has_longitude(180.0)));
        is_between && (self.south..=self.north).contains(&point.lat)
    }

    fn has_longitude(&self, lon: f64) -> bool {
        if self.west <= self.east {
            (self.west..=self.east).contains(&lon)
        } else {
            lon >= self.west || lon <= self.east
        }
    }

    /// The part of the grid to search.
    pub(crate) fn extent(&self) -> Extent {
        // The sum may be rounded down, so that a vehicle on the rim would be in the next cell.
        let east = if self.west <= self.east { self.east } else { self.east + 360.0 + ROUNDING };
        Extent { west: self.west, east, south: self.south, north: self.north }
    }
}

/// A circle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Circle {
    pub(crate) centre: Point,
    pub(crate) radius_m: f64,
}

impl Circle {
    /// Metres from the centre, if the point is in the circle or on its rim.
    pub(crate) fn distance_within(&self, point: Point) -> Option<f64> {
        let distance_m = self.centre.distance_m(point);
        (distance_m <= self.radius_m).then_some(distance_m)
    }

    /// The part of the grid to search. The widest chord of a circle that contains no pole is not at the centre's latitude, so its
    /// longitudes are those of the tangent meridians.
    pub(crate) fn extent(&self) -> Extent {
        let Point { lat, lon } = self.centre;
        let angle = self.radius_m / EARTH_RADIUS_M;
        let (south, north) = (lat - angle.to_degrees() - ROUNDING, lat + angle.to_degrees() + ROUNDING);
        let reaches_a_pole = south <= -90.0 || north >= 90.0;
        let ratio = angle.sin() / lat.to_radians().cos();
        let half = if reaches_a_pole || ratio >= 1.0 { 180.0 } else { ratio.asin().to_degrees() + ROUNDING };
        Extent { west: lon - half, east: lon + half, south: south.max(-90.0), north: north.min(90.0) }
    }
}

/// A part of the grid, degrees. Longitudes are not wrapped: `west` is never greater than `east`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extent {
    pub(crate) west: f64,
    pub(crate) east: f64,
    pub(crate) south: f64,
    pub(crate) north: f64,
}

impl Extent {
    /// Whether the point is in it. Also accepts points that are as near to its rim as rounding may have moved them.
    pub(crate) fn has(&self, point: Point) -> bool {
        let (west, east) = (self.west - ROUNDING, self.east + ROUNDING);
        let is_between = |lon: f64| (west..=east).contains(&lon);
        (self.south..=self.north).contains(&point.lat)
            && (is_between(point.lon) || is_between(point.lon + 360.0) || is_between(point.lon - 360.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_a_sphere() {
        let berlin = Point { lat: 52.52, lon: 13.405 };
        let paris = Point { lat: 48.8566, lon: 2.3522 };
        assert!((berlin.distance_m(paris) - 877_460.0).abs() < 500.0, "{}", berlin.distance_m(paris));
        let (pole, other) = (Point { lat: 90.0, lon: 0.0 }, Point { lat: -90.0, lon: 77.0 });
        assert!((pole.distance_m(other) - LONGEST_DISTANCE_M).abs() < 1.0);
        let across = Point { lat: 0.0, lon: 179.999 }.distance_m(Point { lat: 0.0, lon: -179.999 });
        assert!((across - 222.39).abs() < 0.1, "{across}");
    }

    #[test]
    fn a_box_may_contain_the_antimeridian() {
        let fiji = Bounds { west: 177.0, south: -20.0, east: -178.0, north: -12.0 };
        let at = |lon| fiji.contains(Point { lat: -17.0, lon });
        assert!(at(178.0) && at(-179.0) && at(180.0) && at(-180.0) && at(177.0) && at(-178.0));
        assert!(!at(0.0) && !at(176.9) && !at(-177.9));
        let west = Bounds { west: -180.0, south: -90.0, east: -170.0, north: 90.0 };
        assert!(west.contains(Point { lat: 0.0, lon: 180.0 }), "the same meridian");
    }

    #[test]
    fn an_extent_has_a_point_whichever_number_its_longitude_has() {
        let fiji = Bounds { west: 177.0, south: -20.0, east: -178.0, north: -12.0 }.extent();
        for (lat, lon) in [(-17.0, 177.0), (-17.0, 180.0), (-17.0, -180.0), (-20.0, -178.0), (-12.0, 179.0)] {
            assert!(fiji.has(Point { lat, lon }), "{lat},{lon}");
        }
        for (lat, lon) in [(-17.0, 176.9), (-17.0, -177.9), (-17.0, 0.0), (-20.1, 179.0), (-11.9, 179.0)] {
            assert!(!fiji.has(Point { lat, lon }), "{lat},{lon}");
        }
        let around = Circle { centre: Point { lat: 0.0, lon: -179.99 }, radius_m: 5_000.0 }.extent();
        assert!(around.has(Point { lat: 0.0, lon: 179.99 }) && !around.has(Point { lat: 0.0, lon: 179.9 }));
    }
}
