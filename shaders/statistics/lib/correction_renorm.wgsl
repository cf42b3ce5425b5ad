// r = sigmaB / sigma, d = (muB - mu) / sigma, clipped. `renorm` holds the moving averages mu and sigma, two planes.
// LIMITS are the corners (batch, rMin, rMax, dMax) of a line that the batch counter walks along.
// What is not a number passes through: max and clamp may make a limit of it. 0 of 0 is 0.
fn limitsAt(batch: f32) -> vec3f {
  var corners = LIMITS;
  var found = corners[0].yzw;
  for (var i = 1u; i < LIMIT_COUNT; i++) {
    let low = corners[i - 1u];
    let high = corners[i];
    if (batch >= low.x) {
      let along = clamp((batch - low.x) / (high.x - low.x), 0.0, 1.0);
      found = low.yzw * (1.0 - along) + high.yzw * along;
    }
  }
  return found;
}

fn clipped(value: Channel, low: f32, high: f32) -> Channel {
  return select(select(value, Channel(low), value < Channel(low)), Channel(high), value > Channel(high));
}

fn ratio(part: Channel, whole: Channel) -> Channel {
  return select(part / whole, Channel(), part == Channel());
}

fn correctionOf(group: u32, shift: Channel, delta: Channel, variance: Channel) -> Correction {
  let channels = arrayLength(&renorm) / 2u;
  let at = group % channels;
  let limits = limitsAt(batchesBefore());
  let least = Channel(sqrt(params.eps));
  let average = renorm[channels + at];
  let sigma = select(average, least, average < least);
  let r = ratio(sqrt(variance + params.eps), sigma);
  let d = ratio((shift - renorm[at]) + delta, sigma);
  return Correction(clipped(r, limits.x, limits.y), clipped(d, -limits.z, limits.z));
}

fn saveCorrection(group: u32, correction: Correction) {
  saved[7u * params.allGroups + group] = correction.r;
  saved[8u * params.allGroups + group] = correction.d;
}
