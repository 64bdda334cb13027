orrery simulate --model deepseek-v2-lite --cluster h800-64 --layout pp=2,ep=8 --global-batch 256 --trace /nonexistent/t.json
