// r = sigmaB / sigma, d = (muB - mu) / sigma, clipped. `renorm` holds the moving averages mu and sigma, two planes.
// LIMITS are the corners (batch, rMin, rMax, dMax) of a line that the batch counter walks along.
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

fn correctionOf(group: u32, shift: Channel, delta: Channel, variance: Channel) -> Correction {
  let channels = arrayLength(&renorm) / 2u;
  let at = group % channels;
  let limits = limitsAt(batchesBefore());
  let sigma = max(renorm[channels + at], Channel(sqrt(params.eps)));
  let r = sqrt(variance + params.eps) / sigma;
  let d = ((shift - renorm[at]) + delta) / sigma;
  return Correction(clamp(r, Channel(limits.x), Channel(limits.y)), clamp(d, Channel(-limits.z), Channel(limits.z)));
}

fn saveCorrection(group: u32, correction: Correction) {
  saved[7u * params.allGroups + group] = correction.r;
  saved[8u * params.allGroups + group] = correction.d;
}
