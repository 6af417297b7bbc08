// What the colours mean: the state of a vehicle gives the colour, the age of its position the opacity.

export const STATES = [
  { name: "Powered on", colour: [61, 220, 151] },
  { name: "Parked", colour: [90, 169, 255] },
  { name: "Charging", colour: [255, 214, 79] },
  { name: "Battery below 20 %", colour: [255, 140, 66] },
  { name: "Offline", colour: [233, 84, 107] },
];

const LOW_BATTERY = 20;

// The index of a vehicle's state. The most urgent one counts.
export function stateOf(vehicle) {
  if (vehicle.online === false) return 4;
  if (vehicle.charging === true) return 2;
  if (vehicle.battery_percent !== null && vehicle.battery_percent < LOW_BATTERY) return 3;
  return vehicle.powered_on === true ? 0 : 1;
}

// Opacity by age: up to five minutes, up to an hour, older.
export const AGES = [1, 0.65, 0.4];

export function ageOf(positionAt, now) {
  const seconds = (now - positionAt) / 1000;
  if (seconds <= 300) return 0;
  return seconds <= 3600 ? 1 : 2;
}

export function css(state) {
  return `rgb(${STATES[state].colour.join(" ")})`;
}
