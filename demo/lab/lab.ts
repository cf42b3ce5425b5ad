import { openEngine } from "../engine/engine.js";
import { loadDigits } from "../engine/digits.js";
import { read, write } from "../shell/address.js";
import { h } from "../shell/dom.js";
import { once } from "../shell/once.js";
import { openPage } from "../shell/page.js";
import { batchSize } from "./batch-size.js";
import { convolution } from "./convolution.js";
import { depth } from "./depth.js";
import { learned } from "./learned.js";
import { noise } from "./noise.js";
import { sameShape } from "./same-shape.js";
import { sliders } from "./sliders.js";
import { testTime } from "./test-time.js";
import { training } from "./training.js";
import type { Lab, Shown, View } from "./view.js";

const VIEWS: readonly View[] = [
  depth,
  training,
  sliders,
  learned,
  sameShape,
  noise,
  testTime,
  batchSize,
  convolution,
];

await openPage(
  {
    file: "lab.html",
    title: { en: "Lab", ko: "실험실" },
    lead: {
      en: "What the lecture says about Batch Normalization, each claim with an experiment on real handwritten digits that runs now, in this page. Change anything; the address keeps it.",
      ko: "강의에서 배치 정규화에 대해 하는 말을 하나씩, 실제 손글씨 숫자로 지금 이 페이지에서 실험합니다. 무엇이든 바꿔 보세요. 설정은 주소에 남습니다.",
    },
  },
  ({ main, found, trouble }) => {
    const software = !found.device || found.software;
    const lab: Omit<Lab, "left"> = {
      found,
      software,
      digits: loadDigits,
      engine: once(() => openEngine(found.device, software)),
    };
    const panel = h("div", { role: "tabpanel", id: "panel", "aria-labelledby": "" });
    let shown: Shown | null = null;
    let leaving = new AbortController();

    const leave = (): void => {
      leaving.abort(new DOMException("left", "AbortError"));
      for (const each of shown?.settings ?? []) each.forget();
      shown?.end?.();
    };
    let current: View | null = null;
    const enter = (view: View): void => {
      // What runs in it goes on.
      if (view === current) return;
      current = view;
      leave();
      write({ view: view.id });
      leaving = new AbortController();
      shown = view.show({ ...lab, left: AbortSignal.any([trouble, leaving.signal]) });
      panel.replaceChildren(shown.element);
      panel.setAttribute("aria-labelledby", `tab-${view.id}`);
      tabs.forEach((tab, i) => {
        const chosen = VIEWS[i] === view;
        tab.setAttribute("aria-selected", String(chosen));
        tab.tabIndex = chosen ? 0 : -1;
        if (chosen) tab.scrollIntoView({ inline: "center", block: "nearest" });
      });
      shown.begin?.();
    };
    const tabs = VIEWS.map((view) =>
      h(
        "button",
        {
          type: "button",
          role: "tab",
          id: `tab-${view.id}`,
          "aria-controls": "panel",
          click: () => {
            enter(view);
          },
        },
        view.name,
      ),
    );
    const list = h(
      "div",
      { class: "tabs", role: "tablist", "aria-label": { en: "experiments", ko: "실험" } },
      ...tabs,
    );
    list.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const at = tabs.indexOf(document.activeElement as HTMLButtonElement);
      const last = tabs.length - 1;
      const next = {
        ArrowRight: at === last ? 0 : at + 1,
        ArrowLeft: at === 0 ? last : at - 1,
        Home: 0,
        End: last,
      }[event.key];
      if (next === undefined) return;
      tabs[next]!.focus();
      enter(VIEWS[next]!);
      event.preventDefault();
    });
    main.append(list, panel);
    enter(VIEWS.find(({ id }) => id === read("view")) ?? depth);
  },
);
