// Numbers, shares, times and names as people read them; what is not known is a dash.

const UNKNOWN = "–";

const known = (value) => value !== null && value !== undefined;

export const count = (value) => (known(value) ? value.toLocaleString("en-US") : UNKNOWN);

export const decimal = (value, digits = 4) => (known(value) ? value.toFixed(digits) : UNKNOWN);

export function percent(share, digits = 1) {
  return known(share) ? `${(100 * share).toFixed(digits)} %` : UNKNOWN;
}

/** A part of a whole in percent; a part of nothing is a dash. */
export const shareOf = (part, whole) => percent(whole ? part / whole : null);

export function bytes(size) {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  const power = size < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(size) / 3));
  const value = size / 1000 ** power;
  return `${power ? value.toPrecision(3) : value} ${units[power]}`;
}

/** A time span in seconds as its two largest units. */
export function duration(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** Unix seconds as local date and time. */
export function moment(seconds) {
  if (!known(seconds)) return UNKNOWN;
  const date = new Date(1000 * seconds);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** `not_learned` as `not learned`. */
export const words = (name) => name.replaceAll("_", " ");

export const METHODS = {
  ifd: "IFD",
  learning_percentage: "Learning percentage",
  s2l: "S2L",
};

/** The last part of a model's name: folders of a server are long and say nothing here. */
export const modelName = (model) => model.split("/").pop();
