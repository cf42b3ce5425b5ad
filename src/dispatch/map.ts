import { partsOf, slotsOf, teamBeside, type Purpose } from "./dispatch.js";

/** Nothing is merged: every Value is read, and what becomes of it written. */
export const map: Purpose = {
  reduces: false,
  share(asked) {
    const { lanesAdjacent, groups, tuning } = asked;
    const team = teamBeside(asked, lanesAdjacent ? 1 : slotsOf(asked));
    const wanted = Math.ceil(tuning.targetMapped / Math.max(1, groups * team));
    const parts = partsOf(asked, team, wanted, Math.floor(2 ** 32 / Math.max(1, groups)));
    return { path: "split", team, parts, apart: false };
  },
};
