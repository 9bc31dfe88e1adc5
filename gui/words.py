"""Every word of the page, in English and Korean. Messages of the package itself are English, as on a terminal."""

LANGUAGES = {"en": "English", "ko": "한국어"}

WORDS: dict[str, tuple[str, str]] = {
    "title": ("text2digit", "text2digit"),
    "tagline": (
        "A small diffusion model turns pure noise into handwritten digits. Press Draw and watch it happen.",
        "작은 확산 모델이 순수한 노이즈를 손글씨 숫자로 바꿉니다. ‘그리기’를 누르고 지켜보세요.",
    ),
    "model": ("Model", "모델"),
    # Tabs, and the sentence at the top of each.
    "draw": ("Draw", "그리기"),
    "inside": ("Look inside", "들여다보기"),
    "compare": ("Compare", "비교"),
    "edit": ("Edit", "고쳐 그리기"),
    "training": ("Training", "학습"),
    "draw_about": (
        "Say what to draw and press Draw. Each picture starts as noise, and every step takes some of it away.",
        "무엇을 그릴지 정하고 ‘그리기’를 누르세요. 그림마다 노이즈에서 시작해 단계마다 조금씩 걷어 냅니다.",
    ),
    "inside_about": (
        "Draw one digit, then move the slider: what the model saw at each step, and what it made of it.",
        "숫자 하나를 그린 다음 슬라이더를 움직여 보세요. 단계마다 모델이 본 것과 거기서 읽어 낸 것이 나옵니다.",
    ),
    "compare_about": (
        "The same noise under two to four settings, side by side, with what each costs.",
        "같은 노이즈를 설정 두 개에서 네 개로 나란히 그리고, 비용도 함께 보여 줍니다.",
    ),
    "edit_about": (
        "Start from a picture in place of noise: your own sketch, a digit with a hole, or two digits.",
        "노이즈 대신 그림에서 시작합니다. 직접 그린 스케치, 일부를 지운 숫자, 또는 숫자 두 개.",
    ),
    "training_about": (
        "Open the folder of a run: its loss, and the digits it drew on the way. A run under way can be followed.",
        "학습 폴더를 열어 손실과 그동안 그린 숫자를 봅니다. 진행 중인 학습도 따라갈 수 있습니다.",
    ),
    # What to draw, and how.
    "digits": ("Digits", "숫자"),
    "digit": ("Digit", "숫자"),
    "prompts": ("Prompts, one a line", "프롬프트, 한 줄에 하나"),
    "prompt": ("Prompt", "프롬프트"),
    "prompts_info": ("Such as: a thick slanted seven, 굵은 칠, 2026", "예: a thick slanted seven, 굵은 칠, 2026"),
    "count": ("Images of each", "각각 몇 장"),
    "settings": ("Settings", "설정"),
    "steps": ("Steps", "단계 수"),
    "steps_info": ("More take longer and are finer", "많을수록 느리고 정교합니다"),
    "guidance": ("Guidance scale", "가이던스"),
    "guidance_info": (
        "1 is off; more is truer to the digit, less varied",
        "1이면 꺼짐. 크면 더 정확하고 덜 다양합니다",
    ),
    "seed": ("Seed", "시드"),
    "seed_info": ("One seed is always the same picture", "시드가 같으면 그림도 같습니다"),
    "scheduler": ("Scheduler", "스케줄러"),
    "scheduler_info": ("How a step is taken", "한 단계를 밟는 방법"),
    "spacing": ("Spacing", "간격"),
    "spacing_info": ("Which noise levels are visited", "거쳐 갈 노이즈 수준"),
    "own": ("the model's own", "모델 기본값"),
    "new_seed": ("New seed", "새 시드"),
    "draw_button": ("Draw", "그리기"),
    "stop": ("Stop", "멈추기"),
    "stopped": ("Stopped.", "멈췄습니다."),
    "dropped": ("Dropped, because another model was chosen.", "다른 모델을 골라서 그리던 것을 버렸습니다."),
    "waiting": (
        "Number {place} in line; your turn is in about {seconds:.0f} s.",
        "대기 {place}번째, 약 {seconds:.0f}초 뒤에 차례가 옵니다.",
    ),
    # What came out.
    "nothing_yet": ("Nothing drawn yet.", "아직 그린 것이 없습니다."),
    "pure_noise": (
        "This is the noise that the digits will be made of.",
        "이 노이즈에서 숫자가 만들어집니다.",
    ),
    "becomes_digit": ("Noise that becomes", "이 노이즈가 될 숫자"),
    "step_of": ("Step {index} of {total}", "{total}단계 중 {index}단계"),
    "drawn_one": (
        "Drawn in {seconds:.2f} s: {steps} steps, {forwards} forwards.",
        "{seconds:.2f}초 걸림: {steps}단계, 순전파 {forwards}번.",
    ),
    "drawn_many": (
        "{count} images in {seconds:.2f} s: {steps} steps, {forwards} forwards for each image.",
        "{count}장, {seconds:.2f}초 걸림: {steps}단계, 장마다 순전파 {forwards}번.",
    ),
    "wrong": ("Please check:", "확인해 주세요:"),
    "note": ("Note:", "참고:"),
    "take_away": ("Take it with you", "가져가기"),
    "png": ("Picture (PNG)", "그림 (PNG)"),
    "gif": ("Animation (GIF)", "움직이는 그림 (GIF)"),
    "py": ("Python (.py)", "파이썬 (.py)"),
    "code": ("The Python that draws the same pixels", "같은 픽셀을 그리는 파이썬"),
    "a_digit": ("Digit drawn by the model", "모델이 그린 숫자"),
    # Look inside.
    "step": ("Step", "단계"),
    "step_info": (
        "From pure noise to the digit; use the arrow keys",
        "순수한 노이즈에서 숫자까지. 화살표 키를 쓸 수 있습니다",
    ),
    "x_t": ("x_t: what the model is shown", "x_t: 모델이 보는 것"),
    "x_0": ("x_0: the digit it expects", "x_0: 모델이 예상하는 숫자"),
    "noise": ("The noise it sees in x_t (grey is 0)", "x_t에서 본 노이즈 (회색이 0)"),
    "direction": ("Guidance: with the digit − without", "가이던스 방향: 조건 있음 − 없음"),
    "no_direction": ("Guidance is off: no direction", "가이던스가 꺼져 방향이 없음"),
    "level": (
        "Step {index} of {total}: t = {timestep:g}, α = {alpha:.3f}, σ = {sigma:.3f}, log-SNR = {log_snr:.2f}",
        "{total}단계 중 {index}단계: t = {timestep:g}, α = {alpha:.3f}, σ = {sigma:.3f}, log-SNR = {log_snr:.2f}",
    ),
    "levels_plot": (
        "How much digit (α) and how much noise (σ) is in x_t; ticks are the steps",
        "x_t에 든 숫자(α)와 노이즈(σ)의 양. 눈금은 단계",
    ),
    "snr_plot": ("Signal against noise, log-SNR", "신호 대 잡음, log-SNR"),
    "confidence_plot": (
        "What a digit classifier makes of x_0, step by step; bold is the digit asked for",
        "분류기가 단계마다 x_0를 무엇으로 보는지. 굵은 선이 요청한 숫자",
    ),
    "confidence_top": (
        "The classifier reads x_0 as {label} with {share:.0%}.",
        "분류기는 x_0를 {label}(으)로 봅니다: {share:.0%}.",
    ),
    # Compare.
    "how_many": ("How many settings", "설정 개수"),
    "setting": ("Setting {number}", "설정 {number}"),
    "cost": ("{forwards} forwards, {milliseconds:.0f} ms", "순전파 {forwards}번, {milliseconds:.0f} ms"),
    "compare_button": ("Draw side by side", "나란히 그리기"),
    "compared": (
        "The same noise, seed {seed}, {count} ways in {seconds:.2f} s.",
        "같은 노이즈(시드 {seed}), {count}가지 설정, {seconds:.2f}초.",
    ),
    "short_setting": (
        "{model}, {scheduler}, {steps} steps, guidance {guidance:g}",
        "{model}, {scheduler}, {steps}단계, 가이던스 {guidance:g}",
    ),
    # Edit.
    "redraw": ("Redraw a sketch", "스케치 다시 그리기"),
    "inpaint": ("Fill a hole", "빈 곳 채우기"),
    "between": ("Between two digits", "두 숫자 사이"),
    "sketch": ("Your sketch", "스케치"),
    "sketch_help": (
        "Draw with mouse or finger. Keys: arrows move, Space draws, Backspace clears the spot.",
        "마우스나 손가락으로 그리세요. 키보드: 화살표로 이동, 스페이스로 그리기, 백스페이스로 지우기.",
    ),
    "mask": ("Paint over what is to be drawn anew", "새로 그릴 곳을 칠하세요"),
    "clear": ("Clear", "지우기"),
    "take_digit": ("Take a drawn digit", "그린 숫자 가져오기"),
    "becomes": ("Becomes", "바꿀 숫자"),
    "strength": ("Noise added", "더할 노이즈"),
    "strength_info": ("0 keeps the picture, 1 keeps nothing of it", "0이면 그대로, 1이면 남는 것이 없습니다"),
    "redraw_button": ("Redraw", "다시 그리기"),
    "inpaint_button": ("Fill it", "채우기"),
    "between_button": ("Draw the way", "사이를 그리기"),
    "start": ("start", "시작"),
    "with_noise": ("with noise, t = {timestep:g}", "노이즈 추가, t = {timestep:g}"),
    "result": ("redrawn", "결과"),
    "first": ("From", "처음"),
    "second": ("To", "끝"),
    "first_seed": ("Seed of the first", "처음 시드"),
    "second_seed": ("Seed of the second", "끝 시드"),
    "frames": ("Pictures", "그림 수"),
    "between_done": ("{count} pictures in {seconds:.2f} s.", "그림 {count}장, {seconds:.2f}초."),
    "empty_sketch": (
        "sketch: it is empty; draw a digit first, or take a drawn one.",
        "sketch: 비어 있습니다. 먼저 숫자를 그리거나 가져오세요.",
    ),
    "empty_mask": (
        "mask: nothing is painted; paint over what is to be drawn anew.",
        "mask: 칠한 곳이 없습니다. 새로 그릴 곳을 칠하세요.",
    ),
    "empty_paper": ("picture: there is none yet; take a drawn digit first.", "picture: 먼저 그린 숫자를 가져오세요."),
    # Training.
    "run": ("Run", "학습 폴더"),
    "run_info": (
        "A folder that text2digit train wrote, or a model that ships",
        "text2digit train이 만든 폴더, 또는 함께 들어 있는 모델",
    ),
    "open_run": ("Open", "열기"),
    "follow": ("Follow while it trains", "학습 중 따라가기"),
    "loss_plot": ("Loss against the step", "단계에 따른 손실"),
    "loss_by_time_plot": (
        "Loss at each noise level: pale is early, bold is now",
        "노이즈 수준별 손실: 흐린 선이 초기, 진한 선이 지금",
    ),
    "no_levels": (
        "This run's history does not tell the loss by noise level.",
        "이 학습 기록에는 노이즈 수준별 손실이 없습니다.",
    ),
    "damaged_lines": (
        "Lines of history.jsonl that are damaged and left out: {count}.",
        "history.jsonl에서 손상되어 뺀 줄: {count}.",
    ),
    "damaged_grid": (
        "{name} cannot be read. If the run is still training, open it again in a moment.",
        "{name} 파일을 읽을 수 없습니다. 학습 중이라면 잠시 뒤에 다시 여세요.",
    ),
    "no_grids": ("No grid of samples yet.", "아직 표본 그림이 없습니다."),
    "grid_of": ("Samples after step {step:,}", "{step:,}단계 뒤의 표본"),
    "grid_final": ("Samples of the finished model", "완성된 모델의 표본"),
    "grid": ("Grid", "표본 그림"),
    "grid_info": ("From the first grid to the latest", "처음 그림부터 최근 그림까지"),
    "run_told": ("{run}: step {step:,}, loss {loss}.", "{run}: {step:,}단계, 손실 {loss}."),
}


class Words:
    """The words of one language.

    Args:
        language: a key of `LANGUAGES`.

    Raises:
        ValueError: another language.
    """

    def __init__(self, language: str):
        if language not in LANGUAGES:
            raise ValueError(f"lang: got {language!r}, expected one of {', '.join(LANGUAGES)}.")
        self.language = language
        self._place = list(LANGUAGES).index(language)

    def __call__(self, key: str, **values: object) -> str:
        """A word or sentence, with values where it has gaps."""
        text = WORDS[key][self._place]
        return text.format(**values) if values else text
