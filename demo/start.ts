import code from "../examples/training.ts?raw";
import { h, rich } from "./shell/dom.js";
import { openPage } from "./shell/page.js";
import type { Words } from "./shell/language.js";

const CARDS: readonly { file: string; title: Words; text: Words }[] = [
  {
    file: "compare.html",
    title: { en: "Compare", ko: "비교" },
    text: {
      en: "Choose a layer and an operation. Every candidate is checked against float64 first, then all are timed in turns: this library, TensorFlow.js, ONNX Runtime Web, jax-js, the CPU.",
      ko: "층과 연산을 고르면, 먼저 모든 후보의 결과를 float64와 대조한 뒤 번갈아 시간을 잽니다. 이 라이브러리, TensorFlow.js, ONNX Runtime Web, jax-js, CPU를 견줍니다.",
    },
  },
  {
    file: "lab.html",
    title: { en: "Lab", ko: "실험실" },
    text: {
      en: "Is it so, what the lecture says? Activations through ten layers, training with and without, gamma and beta in your hands, small batches, test time. On real digits, live.",
      ko: "강의에서 들은 말이 정말일까요? 열 개 층을 지나는 활성값, 있을 때와 없을 때의 학습, 직접 움직여 보는 gamma와 beta, 작은 배치, 테스트 시점까지 실제 숫자 데이터로 바로 확인합니다.",
    },
  },
  {
    file: "digits.html",
    title: { en: "Digits", ko: "숫자" },
    text: {
      en: "Draw a digit and see a small network read it as you draw. Spoil the input, watch the accuracy fall, then re-estimate the statistics without any label and watch it recover.",
      ko: "숫자를 그리면 작은 신경망이 그리는 대로 읽습니다. 입력을 망가뜨려 정확도가 떨어지는 것을 보고, 정답 없이 통계만 다시 추정해 되살아나는 것을 확인해 보세요.",
    },
  },
];

const INSTALL = `npm install && npm pack                      # in a clone of the repository
npm install PATH/webgpu-batchnorm-*.tgz      # in your project`;

await openPage(
  {
    file: "index.html",
    title: { en: "Batch Normalization on WebGPU", ko: "WebGPU로 하는 배치 정규화" },
    lead: {
      en: "Each channel of a batch is shifted to mean 0 and scaled to variance 1, then scaled by gamma and shifted by beta. It lets deep networks train. This is it on your own GPU: trained, measured, opened up.",
      ko: "배치의 채널마다 평균을 0, 분산을 1로 맞춘 뒤 gamma를 곱하고 beta를 더합니다. 깊은 신경망의 학습을 가능하게 하는 방법입니다. 이 페이지에서는 여러분의 GPU로 직접 학습하고, 재고, 들여다봅니다.",
    },
  },
  ({ main }) => {
    main.append(
      h(
        "div",
        { class: "cards" },
        ...CARDS.map(({ file, title, text }) =>
          h(
            "section",
            { class: "card" },
            h("h2", {}, h("a", { href: `./${file}` }, title)),
            h("p", {}, text),
          ),
        ),
      ),
      h(
        "section",
        { class: "card" },
        h("h2", {}, { en: "In your own program", ko: "여러분의 프로그램에서" }),
        rich(
          {
            en: "Forward, backward and inference as a few WGSL kernels; no dependency, no readback, no device feature required. The names are PyTorch's. It is not on npm yet: pack it, and install the file.",
            ko: "순전파, 역전파, 추론이 WGSL 커널 몇 개로 끝납니다. 의존성도, 값을 되읽는 일도, 필요한 장치 기능도 없습니다. 이름은 PyTorch를 따릅니다. 아직 npm에 없으므로, 직접 묶어서 그 파일을 설치하세요.",
          },
          "p",
        ),
        h("pre", { tabindex: 0 }, h("code", {}, INSTALL)),
        h("pre", { tabindex: 0 }, h("code", {}, code.trimEnd())),
      ),
    );
  },
);
